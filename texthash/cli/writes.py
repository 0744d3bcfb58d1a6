"""Commands that change and verify a release: upserts, deletions, snapshots, backups, export and import of codes."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from texthash.api.attributes import AttributeColumn
from texthash.cli import remote
from texthash.cli.indexes import ReleaseName, index_app
from texthash.cli.options import Filtered, Json
from texthash.cli.output import print_json, print_table
from texthash.cli.released import released, state_of
from texthash.config import KeywordAnalysis
from texthash.errors import UsageError
from texthash.io.audit import audited
from texthash.paths import resolve_home
from texthash.progress import log_line
from texthash.uri import without_secrets

Rows = Annotated[
    Path,
    typer.Argument(
        help="JSONL, JSON, CSV, TSV or Parquet file with id, text, and optionally title and labels; ids are unique."
    ),
]
TextColumn = Annotated[
    list[str] | None,
    typer.Option("--text-column", help="Column of the text; several are joined, as corpus.text of the model."),
]
VectorColumn = Annotated[
    str | None, typer.Option("--vector-column", help="Column of the vectors, for a model of vectors of your own.")
]
AttributeColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--attribute",
        help="Column that documents keep as an attribute, NAME or NAME:TYPE with the type string, number, boolean or "
        "date; may be repeated.",
    ),
]
IdColumn = Annotated[str, typer.Option("--id-column", help="Column of the id.")]
TitleColumn = Annotated[str, typer.Option("--title-column", help="Column of the title.")]
LabelsColumn = Annotated[
    str | None, typer.Option("--labels-column", help="Column of the labels. Default: labels or label.")
]
Codes = Annotated[
    Path, typer.Argument(help="File of codes; its suffix gives the format: .npy .parquet .faiss .tsv .tsv.gz")
]
BackupPath = Annotated[str, typer.Argument(help="Directory, or address of an object store.")]
SnapshotName = Annotated[str, typer.Argument(help="Name of a snapshot.")]


@index_app.command("upsert")
def index_upsert(
    rows: Rows,
    text_column: TextColumn = None,
    id_column: IdColumn = "id",
    title_column: TitleColumn = "title",
    labels_column: LabelsColumn = None,
    vector_column: VectorColumn = None,
    attribute: AttributeColumns = None,
) -> None:
    """Insert documents, and replace those whose id exists. Example: `texthash index upsert more.jsonl`

    The whole file is checked before any of it is written, and an interrupted upsert can be repeated.
    """
    from texthash.corpora.readers.rows import Columns, Table
    from texthash.deployment.index_files import upsert_file

    columns = Columns(
        text=tuple(text_column or ["text"]),
        id=id_column,
        vector=vector_column,
        attributes=_columns(attribute),
        labels=labels_column,
        title=title_column,
    )
    table = Table(rows, columns=columns)

    def local() -> dict[str, Any]:
        done = upsert_file(resolve_home(), table)
        counts = {"upserted": done.documents, "new": done.new, "without_known_words": done.unknown}
        return {**counts, **state_of(done.release)}

    print_json(remote.write_locally_or_remotely(local, lambda client: remote.upsert_file(client, table)))


@index_app.command("delete")
def index_delete(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of documents.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Delete all documents with this label instead; may be repeated.")
    ] = None,
    filter: Filtered = None,
) -> None:
    """Delete documents from the index. Example: `texthash index delete 17 18` or `texthash index delete --label old`"""
    from texthash.index.filters.given import filter_of, filter_of_options
    from texthash.index.writing.writer import IndexWriter

    made = filter_of_options(label, filter)

    def local() -> dict[str, Any]:
        home, asked = resolve_home(), {"ids": len(ids or ()), "filtered": made is not None}
        with IndexWriter.open(home) as writer, audited(home, "delete", **asked) as facts:
            written = writer.delete(ids or (), filter_of(made))
            facts.update(documents=written.documents, release=written.release.name)
        return {"deleted": written.documents, **state_of(written.release)}

    print_json(remote.write_locally_or_remotely(local, lambda client: remote.delete(client, ids or [], made)))


@index_app.command("add-keywords")
def index_add_keywords(
    analysis: Annotated[
        KeywordAnalysis, typer.Option(help="english, or plain for texts in other languages.")
    ] = "english",
    title_weight: Annotated[int, typer.Option(min=1, max=100, help="Times that a word of the title counts.")] = 5,
    lead_weight: Annotated[
        int, typer.Option(min=1, max=100, help="Times that each of the first 15 words of the text counts.")
    ] = 1,
    title_brevity: Annotated[
        float, typer.Option(min=0, max=1, help="Power by which short titles are preferred; see index.title_brevity.")
    ] = 0.0,
    bm25_k1: Annotated[float, typer.Option(min=0.01, max=100, help="Constant k1 of BM25.")] = 1.2,
    bm25_b: Annotated[float, typer.Option(min=0, max=1, help="Constant b of BM25, the share of the length.")] = 0.75,
) -> None:
    """Store the words of all documents, for an index that was built without them: keyword and hybrid search need these.

    Words that are stored by another analysis, with other weights, or without any as by earlier versions, are replaced.
    Example: `texthash index add-keywords`
    """
    from texthash.index.keywords.weights import WordWeights
    from texthash.index.writing.writer import IndexWriter

    def local() -> dict[str, Any]:
        home, weights = resolve_home(), WordWeights(title_weight, lead_weight, title_brevity, bm25_k1, bm25_b)
        with IndexWriter.open(home) as writer:
            return released(home, "add_keywords", lambda: writer.add_keywords(analysis, weights))

    print_json(remote.write_in_this_process(local, "search by meaning meanwhile."))


@index_app.command("compact")
def index_compact() -> None:
    """Join small fragments, and free deleted and replaced documents. Example: `texthash index compact`"""
    from texthash.index.writing.writer import IndexWriter

    def local() -> dict[str, Any]:
        home = resolve_home()
        with IndexWriter.open(home) as writer:
            return released(home, "compact", writer.compact)

    print_json(remote.write_locally_or_remotely(local, lambda client: client.compact().model_dump()))


@index_app.command("verify")
def index_verify(
    release: ReleaseName = "current",
    sample: Annotated[int, typer.Option(min=0, help="Number of documents to encode again.")] = 1_000,
    add_checksums: Annotated[
        bool, typer.Option("--add-checksums", help="Record checksums of files that have none, if nothing is wrong.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check every file, count, checksum and id, and a sample of codes of a release; exit 1 if something is wrong.

    Example: `texthash index verify`
    """
    from texthash.index.releases import verify as verifying

    findings = verifying.verify(resolve_home(), release, sample)
    print_table([asdict(finding) for finding in findings], as_json)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
    if add_checksums:
        log_line(f"checksums of {verifying.add_checksums(resolve_home(), release)} files were added")


@index_app.command("snapshot")
def index_snapshot(name: SnapshotName) -> None:
    """Take a snapshot of the current state. Example: `texthash index snapshot before-cleaning`"""
    from texthash.index.releases.snapshots import take_snapshot

    home = resolve_home()
    with audited(home, "take_snapshot") as facts:
        snapshot = take_snapshot(home, name)
        facts.update(snapshot=snapshot.name, release=snapshot.release)
    print_json(asdict(snapshot))


@index_app.command("snapshots")
def index_snapshots(as_json: Json = False) -> None:
    """List the snapshots. Example: `texthash index snapshots`"""
    from texthash.index.releases.snapshots import readable_snapshots

    print_table([asdict(snapshot) for snapshot in readable_snapshots(resolve_home())], as_json)


@index_app.command("drop-snapshot")
def index_drop_snapshot(name: SnapshotName) -> None:
    """Drop a snapshot. Example: `texthash index drop-snapshot before-cleaning`"""
    from texthash.index.releases.snapshots import drop_snapshot

    home = resolve_home()
    with audited(home, "drop_snapshot") as facts:
        drop_snapshot(home, name)
        facts.update(snapshot=name)
    log_line(f"dropped; `texthash index compact` frees the space of {name}")


@index_app.command("restore")
def index_restore(name: SnapshotName) -> None:
    """Restore the documents of a snapshot. Example: `texthash index restore before-cleaning`"""
    from texthash.index.releases.publish import switch_to
    from texthash.index.releases.release import read_release
    from texthash.index.releases.snapshots import read_snapshot
    from texthash.index.writing.writer import IndexWriter

    home = resolve_home()
    release = read_release(home, read_snapshot(home, name).release)
    if release.index_uri == read_release(home).index_uri:

        def local() -> dict[str, Any]:
            with IndexWriter.open(home) as writer:
                return released(home, "restore_snapshot", lambda: writer.restore(release), snapshot=name)

        print_json(remote.write_locally_or_remotely(local, lambda client: client.restore_snapshot(name).model_dump()))
    else:
        print_json(released(home, "restore_snapshot", lambda: switch_to(home, release.name), snapshot=name))


@index_app.command("backup")
def index_backup(target: BackupPath, release: ReleaseName = "current") -> None:
    """Copy a release with its model. Example: `texthash index backup s3://bucket/backups/monday`"""
    from texthash.index.releases.backup import back_up

    home = resolve_home()
    print_json(released(home, "backup", lambda: back_up(home, target, release), target=without_secrets(target)))


@index_app.command("restore-backup")
def index_restore_backup(source: BackupPath) -> None:
    """Restore a backup and make it current. Example: `texthash index restore-backup s3://bucket/backups/monday`"""
    from texthash.index.releases.backup import restore_backup

    home = resolve_home()
    print_json(released(home, "restore_backup", lambda: restore_backup(home, source), source=without_secrets(source)))


@index_app.command("rollback")
def index_rollback() -> None:
    """Return to the previous model and index. Example: `texthash index rollback`"""
    from texthash.index.releases.publish import rollback

    home = resolve_home()
    print_json(released(home, "rollback", lambda: rollback(home)))


@index_app.command("export")
def index_export(codes: Codes, release: ReleaseName = "current") -> None:
    """Export ids and codes for another system. Example: `texthash index export codes.parquet`

    Suffixes .duckdb .usearch .multihash.faiss .qdrant write what that engine opens and searches.
    """
    from texthash.deployment.code_exchange import export_codes, searchable_codes
    from texthash.hamming import interop
    from texthash.integrations.engines import ENGINE_SUFFIXES, engine_suffix, write_engine

    known = (*interop.SUFFIXES, *ENGINE_SUFFIXES)
    if not codes.name.endswith(known):
        raise UsageError(f"{codes} has no suffix of a known format.", f"use one of {', '.join(known)}.")

    if engine_suffix(codes) is not None:
        found, ids = searchable_codes(resolve_home(), release)
        write_engine(codes, found, ids)
        print_json({"exported": len(ids), "file": str(codes)})
        return
    print_json({"exported": export_codes(resolve_home(), codes, release), "file": str(codes)})


@index_app.command("import")
def index_import(
    codes: Codes,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to the replacement of titles, texts and labels.")] = False,
) -> None:
    """Import codes of the same model into the index, while no service is its writer.

    Titles, texts and labels are kept unless the file has them too. The whole file is checked before any of it is
    written, and an interrupted import can be repeated. Example: `texthash index import codes.parquet`
    """
    from texthash.deployment.code_exchange import import_codes

    def agreed(question: str) -> bool:
        log_line(question)
        return yes or (sys.stdin.isatty() and sys.stderr.isatty() and typer.confirm("Replace them?", err=True))

    done = remote.write_in_this_process(
        lambda: import_codes(resolve_home(), codes, agreed),
        "upsert the documents with their texts, which goes through it: `texthash index upsert`.",
    )
    counts = {"upserted": done.documents, "new": done.new, "without_known_words": done.unknown}
    print_json({**counts, **state_of(done.release)})


def _columns(attributes: list[str] | None) -> tuple[AttributeColumn, ...]:
    try:
        return tuple(AttributeColumn.parse(column) for column in attributes or ())
    except ValueError as error:
        raise UsageError(f"--attribute {error}.", "give NAME or NAME:TYPE, such as published:date.") from None
