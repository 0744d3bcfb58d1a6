"""Commands on corpora: list them, show one, fetch its files."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from texthash.cli.options import Json
from texthash.cli.output import print_json, print_table
from texthash.errors import CorpusError, TexthashError, UsageError
from texthash.paths import DATA_VARIABLE, StateDir, resolve_home
from texthash.progress import log_line, megabytes

if TYPE_CHECKING:
    from texthash.corpora.corpus_record import CorpusRecord

corpora_app = typer.Typer(invoke_without_command=True)
Name = Annotated[str, typer.Argument(help="Name of a corpus, as `texthash corpora` lists them.")]
DataDir = Annotated[str | None, typer.Option("--data-dir", help="Directory of the official files.")]


@corpora_app.callback()
def corpora(context: typer.Context, as_json: Json = False, data_dir: DataDir = None) -> None:
    """List the corpora and which are available; show one, fetch its files. Example: `texthash corpora show agnews`"""
    if context.invoked_subcommand is not None:
        if as_json or data_dir is not None:
            raise UsageError(
                f"--json and --data-dir before {context.invoked_subcommand} belong to the list of corpora.",
                "put them after it.",
            )
        return
    from texthash.corpora.catalog import available, records

    home = resolve_home()
    rows = [
        {
            "name": record.name,
            "documents": record.documents,
            "labels": record.labels,
            "multi_label": record.multi_label,
            "licence": record.licence,
            "at_hand": available(record.name, data_dir, home),
        }
        for record in records().values()
    ]
    print_table(rows, as_json)


@corpora_app.command("show")
def corpora_show(name: Name, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show a corpus, its files and its prepared editions. Example: `texthash corpora show reuters`

    Your own corpus can be shown by its name once it is prepared.
    """
    from texthash.corpora.catalog import find, records

    home = resolve_home()
    editions = _editions(name, home)
    if name not in records() and editions:
        facts: dict[str, Any] = {"name": name, "editions": editions}
    else:
        record = find(name)
        facts = {**asdict(record), "splits": dict(record.splits)}
        facts |= {"files": _files(record, data_dir, home), "editions": editions}
        facts |= {
            "at_hand": record.embedded or bool(facts["files"]),
            "looked_for_in": _searched_folders(data_dir, home),
        }
    if as_json:
        print_json(facts)
    else:
        print(_page(facts))


@corpora_app.command("fetch")
def corpora_fetch(
    name: Name,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Folder to fetch into; default: downloads in the state directory.")
    ] = None,
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="Agree to the terms of use, for scripts.")
    ] = False,
) -> None:
    """Fetch the files of a corpus; an interrupted fetch is resumed. Example: `texthash corpora fetch 20newsgroups`"""
    from texthash.corpora.catalog import find
    from texthash.corpora.download import fetch

    record = find(name)
    home = resolve_home()
    folder = data_dir.expanduser().absolute() if data_dir else home.downloads
    if record.embedded:
        log_line(f"{name} needs no files: it is made from {record.source}")
        return
    if not record.downloads:
        raise CorpusError(
            f"texthash cannot fetch the files of {name}. {record.terms}".rstrip(),
            f"{record.how_to_get or f'it comes from {record.source}.'} Put the files into {folder}.",
        )
    _agree(record, accept_terms)
    print_json({"name": name, "files": [str(fetch(download, folder)) for download in record.downloads]})


def _agree(record: CorpusRecord, accepted: bool) -> None:
    """Print the size, licence and terms of a download, and return only if the user agrees to the terms."""
    sizes = [download.bytes for download in record.downloads]
    known = sum(size for size in sizes if size is not None)
    size = ("at least " if None in sizes else "") + megabytes(known) if known else "of unknown size"
    log_line(f"{record.title}: {len(sizes)} file{'s' * (len(sizes) > 1)}, {size}\nlicence: {record.licence}")
    if not record.terms:
        return
    log_line(f"terms: {record.terms}")
    if accepted:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"{record.name} has terms of use, and there is no terminal to agree to them.",
            "read them above, and add --accept-terms if you agree.",
        )
    if not typer.confirm("Do you agree?", err=True):
        raise CorpusError(f"{record.name} was not fetched: its terms were not agreed to.")


def _files(record: CorpusRecord, data_dir: str | None, home: StateDir) -> list[dict[str, Any]]:
    from texthash.config import CorpusConfig
    from texthash.corpora.catalog import readers
    from texthash.io import object_store_cache

    with object_store_cache.looking():
        found = readers()[record.name].files(CorpusConfig(name=record.name, data_dir=data_dir), home)
        return [{"path": str(path), "bytes": path.stat().st_size} for path in found]


def _searched_folders(data_dir: str | None, home: StateDir) -> list[str]:
    from texthash.corpora.find_files import folders

    return [str(folder) for folder in folders(data_dir, home)]


def _editions(name: str, home: StateDir) -> list[dict[str, Any]]:
    """Return the card of each prepared edition, or the problem for which it cannot be read."""
    from texthash.corpora.catalog import records
    from texthash.corpora.preparation.report import card
    from texthash.corpora.prepared.corpus import PreparedCorpus
    from texthash.corpora.prepared.manifest import MANIFEST
    from texthash.io.listing import matching

    found = []
    for manifest in matching(home.corpus(name, "-").parent, f"[!.]*/{MANIFEST}"):
        try:
            found.append(card(PreparedCorpus.open(manifest.parent), records().get(name)))
        except TexthashError as error:
            found.append({"edition": manifest.parent.name, "path": str(manifest.parent), "problem": error.problem})
    return found


def _page(facts: dict[str, Any]) -> str:
    """Return the facts as plain text."""
    from texthash.corpora.preparation.report import render

    lines = [_heading(facts)]
    if "title" in facts:
        lines += [f"{label:<12}{text}" for label, text in _without_repeats(_lines(facts))]
    for edition in facts["editions"]:
        lines += ["", f"{edition['edition']}: {edition['problem']}" if "problem" in edition else render(edition)]
    return "\n".join(lines)


def _without_repeats(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Drop lines without text, and repeat no label on consecutive lines."""
    filled = [line for line in lines if line[1]]
    before = ["", *(label for label, _ in filled)]
    return [("" if label == last else label, text) for (label, text), last in zip(filled, before, strict=False)]


def _heading(facts: dict[str, Any]) -> str:
    return f"{facts['name']}: {facts['title']}" if "title" in facts else f"{facts['name']}: your own corpus"


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    splits = ", ".join(f"{split} {count:,}" for split, count in facts["splits"].items())
    documents = "as installed" if facts["documents"] is None else f"{facts['documents']:,}"
    labels = "as installed" if facts["labels"] is None else f"{facts['labels']:,}"
    lines = [
        ("documents", f"{documents} ({splits})" if splits else documents),
        ("labels", "" if facts["pairs"] else f"{labels}, {'several' if facts['multi_label'] else 'one'} a document"),
        ("label sets", f"{', '.join(facts['label_sets'])} (corpus.edition.label_set)" if facts["label_sets"] else ""),
        ("pairs", "questions and the documents that answer them" if facts["pairs"] else ""),
        ("licence", facts["licence"]),
        ("terms", facts["terms"]),
        ("source", facts["source"]),
        ("citation", facts["citation"]),
        ("survey", facts["survey"]),
        ("obtain", facts["how_to_get"]),
    ]
    for download in facts["downloads"]:
        size = f", {megabytes(download['bytes'])}" if download["bytes"] else ""
        lines.append(("download", f"{download['file']}{size}, {download['url']}"))
    if facts["embedded"]:
        return [*lines, ("available", "yes: it needs no files")]
    lines += [("available", f"{file['path']}, {megabytes(file['bytes'])}") for file in facts["files"]]
    if not facts["files"]:
        hint = "" if os.environ.get(DATA_VARIABLE) else f" (set {DATA_VARIABLE} to name another folder)"
        lines.append(("available", f"no: looked for in {', '.join(facts['looked_for_in'])}{hint}"))
    return lines
