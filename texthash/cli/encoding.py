"""Command that encodes texts: a few to stdout, or a whole corpus into files."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from texthash.cli.options import Address, Json, on_ray
from texthash.cli.output import print_json
from texthash.errors import TexthashError, UsageError
from texthash.executor import Executor
from texthash.paths import as_path, resolve_home
from texthash.progress import log_line, warn

_FORMS = ("hex", "bits")
_ROLES = ("document", "query")


def encode(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts; default: the lines of stdin.")] = None,
    model: Annotated[
        str,
        typer.Option("--model", help="`released`, `champion`, NAME/VERSION of the registry, or a trained model."),
    ] = "released",
    form: Annotated[str, typer.Option("--format", help="Format of codes on stdout: hex or bits.")] = "hex",
    source: Annotated[
        str | None,
        typer.Option(
            "--from", help="Corpus to encode: CORPUS/EDITION, or JSONL, CSV, Parquet, text or a folder; also s3://..."
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", help="Output of --from: a folder of Parquet parts, FILE.parquet or FILE.npy."),
    ] = None,
    text_column: Annotated[
        list[str] | None, typer.Option("--text-column", help="Column of the text; several are joined. Default: text.")
    ] = None,
    id_column: Annotated[str, typer.Option("--id-column", help="Column of the id.")] = "id",
    role: Annotated[str, typer.Option("--role", help="Role of the texts: document or query.")] = "document",
    activations: Annotated[
        bool, typer.Option("--activations", help="Also write the activations, the values before binarization.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Number of processes on Ray; default: this process alone.")
    ] = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Encode texts, one code a line; with --from encode a whole corpus into files.

    Examples: `texthash encode "sort an array" --format bits`, `texthash encode --from documents.jsonl --output codes`
    """
    if form not in _FORMS:
        raise UsageError(f"format {form!r} does not exist.", f"use {' or '.join(_FORMS)}.")
    if role not in _ROLES:
        raise UsageError(f"role {role!r} does not exist.", f"use {' or '.join(_ROLES)}.")
    if source is None and output is None:
        for name, value in (("--text-column", text_column), ("--workers", workers), ("--address", address)):
            if value is not None:
                raise UsageError(f"{name} needs --from and --output.", "leave it out for texts.")
        _print_codes(texts or [line.rstrip("\n") for line in sys.stdin], model, form, role)
        return
    if source is None or output is None or texts:
        raise UsageError("--from and --output belong together, and exclude texts.", "give both, or texts alone.")
    columns = {"text": tuple(text_column or ["text"]), "id": id_column}
    begin = time.monotonic()
    cluster = "local" if workers and not address else address
    with on_ray(cluster, workers=workers) as executor:
        summary = _encode_corpus(source, output, model, columns, role, activations, executor)
    seconds = time.monotonic() - begin
    if as_json:
        print_json({**summary, "seconds": round(seconds, 3)})
        return
    print(summary["output"])
    log_line(
        f"encoded {summary['encoded']:,} documents ({summary['documents']:,} in all, {summary['unknown']:,} without a "
        f"known word) in {seconds:,.1f} s"
    )


def _print_codes(texts: list[str], model: str, form: str, role: Any) -> None:
    from texthash.deployment.model_refs import saved_hasher
    from texthash.hamming.codes import to_bitstring, to_hex
    from texthash.models.hasher import Hasher

    if not texts:
        raise TexthashError("no text to encode was given.", "name texts, or write them to stdin, one a line.")
    hasher = Hasher.load(saved_hasher(resolve_home(), model))
    values, known, *_ = hasher.read(texts, role)
    for text, is_known in zip(texts, known, strict=True):
        if not is_known:
            warn(f"no word of {text[:40]!r} is in the vocabulary: this is the code of an empty document")
    codes = hasher.binarize(values)
    print("\n".join(to_hex(codes) if form == "hex" else to_bitstring(codes)))


def _encode_corpus(
    source: str,
    output: str,
    model: str,
    columns: dict[str, Any],
    role: Any,
    activations: bool,
    executor: Executor,
) -> dict[str, Any]:
    from texthash.corpora.text_sources import Columns, open_texts
    from texthash.deployment.model_refs import saved_hasher
    from texthash.models.bulk_encode import encode_texts

    home, target = resolve_home(), as_path(output)
    hasher = saved_hasher(home, model)
    texts = open_texts(source, home, Columns(**columns))
    if executor.remote:
        from texthash.nodes import check_shared

        check_shared(target.parent)
    return asdict(encode_texts(hasher, texts, target, role=role, activations=activations, executor=executor))
