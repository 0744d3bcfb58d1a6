"""Commands on releases: build an index, inspect it, search it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from texthash.api.attributes import write_attributes
from texthash.api.requests import Mode
from texthash.cli.options import Address, ConfigFile, Filtered, Json, Model, Overrides, on_ray
from texthash.cli.output import print_document, print_json, print_table
from texthash.cli.reranking import CANDIDATES, RerankModel, hits_in_order, open_reranker_for
from texthash.config import VectorKind, load_config
from texthash.errors import ModelMismatchError, TexthashError, UsageError
from texthash.paths import resolve_home
from texthash.progress import log_line

if TYPE_CHECKING:
    from texthash.cli.remote import SearchQuery
    from texthash.index.releases.release import Release

_SIDES = {"meaning": "semantic", "words": "keyword"}
index_app = typer.Typer(no_args_is_help=True, help="Build, inspect, change and search indexes.")
Query = Annotated[str | None, typer.Argument(help="Text to search for.")]
VectorFile = Annotated[
    Path | None, typer.Option("--vector-file", help=".npy file with the vector to search for, in place of a text.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Maximum number of hits.")]
ReleaseName = Annotated[str, typer.Option("--release", help="Name of a release, or current.")]
PlanName = Annotated[Literal["auto", "flat", "mih"], typer.Option("--plan", help="Search strategy; all are exact.")]
SearchMode = Annotated[
    Mode | None,
    typer.Option(
        "--mode",
        help="semantic: by the codes; keyword: by words (BM25); hybrid: both. Default: hybrid if the index has words.",
    ),
]
Weight = Annotated[
    float | None, typer.Option("--weight", min=0, max=1, help="Weight of the meaning in a hybrid search.")
]
Rescore = Annotated[
    Literal["none", "asymmetric", "float"] | None,
    typer.Option(
        help="Finer order of the nearest: asymmetric by the query's activations; float by the cosine with the vectors "
        "of the index (index.vectors). Default: as chosen for the release."
    ),
]
Oversample = Annotated[
    int, typer.Option(min=1, max=100, help="Number of reordered documents, as a multiple of the limit.")
]
Label = Annotated[list[str] | None, typer.Option(help="Only documents with this label; may be repeated for several.")]
Service = Annotated[
    str | None,
    typer.Option(
        "--service",
        metavar="URL|none",
        help="Service that answers; none: this process. Default: the service of this state directory if it answers, "
        "else this process.",
    ),
]


@index_app.command("build")
def index_build(
    model: Model = "latest", overrides: Overrides = None, config: ConfigFile = None, address: Address = None
) -> None:
    """Register a trained model, build its index, release both. Example: `texthash index build latest index.shards=4`

    With index.vectors=activations or features the index stores vectors for `texthash search --rescore float`.
    """
    from texthash.deployment import steps

    settings = load_config(config, overrides or [])
    with on_ray(address) as executor:
        release = steps.release(resolve_home(), model, settings, executor)
    print_json(asdict(release))


@index_app.command("info")
def index_info(as_json: Json = False) -> None:
    """List the releases and mark the current one. Example: `texthash index info`"""
    from texthash.index.releases.release import current_name, readable_releases
    from texthash.index.storage.shard_format import kind_of

    home = resolve_home()
    current = current_name(home)
    columns = ("name", "created", "model", "model_version", "method", "bits")
    rows = [
        {
            **{column: getattr(release, column) for column in columns},
            "documents": release.documents,
            "shards": len(release.shards),
            "vectors": kind_of(release.vectors),
            "current": release.name == current,
        }
        for release in readable_releases(home)
    ]
    print_table(rows, as_json)


@index_app.command("show")
def index_show(
    document_id: Annotated[
        str, typer.Argument(metavar="ID", help="Id of a document; put -- before an id with a leading -.")
    ],
    service: Service = None,
    as_json: Json = False,
) -> None:
    """Show a document of the index by its id, with its code. Example: `texthash index show sklearn.svm.SVC`"""
    from texthash.cli import remote

    if service in (None, "none"):
        found = remote.document_nearby(resolve_home(), document_id) if service is None else None
        document = _read_locally(document_id) if found is None else found
    else:
        document = remote.document(service, document_id)
    if as_json:
        print_json(document)
    else:
        print_document(document)


def _read_locally(document_id: str) -> dict[str, Any]:
    from texthash.index.releases.release import read_release
    from texthash.index.storage.shard_format import shard_of

    home = resolve_home()
    release = read_release(home)
    document = release.open_shard(home, shard_of(document_id, len(release.shards))).document(document_id)
    if document is None:
        raise TexthashError(
            f"the index holds no document {document_id!r}.", "`texthash search` prints the ids of its hits."
        )
    attributes = write_attributes(document["attributes"])
    return {**document, "attributes": attributes, "code": document["code"].hex(), "index_version": release.version}


@index_app.command()
def search(
    query: Query = None,
    vector_file: VectorFile = None,
    limit: Limit = 10,
    mode: SearchMode = None,
    weight: Weight = None,
    release: ReleaseName = "current",
    plan: PlanName = "auto",
    rescore: Rescore = None,
    oversample: Oversample = 4,
    label: Label = None,
    filter: Filtered = None,
    rerank: RerankModel = None,
    service: Service = None,
    as_json: Json = False,
) -> None:
    """Search the released index. Example: `texthash search "sort an array" --mode hybrid --rescore asymmetric --json`

    A service answers, or this process, which loads the model first. Both give the same answer, with --json in the form
    of the service: a query without a known word has no hits by meaning.
    """
    from texthash.cli import remote
    from texthash.index.filters.given import filter_of_options

    if (query is None) == (vector_file is None):
        raise UsageError("a search has either a text or a --vector-file.", "give one of them.")
    vector = None if vector_file is None else _vector_in(vector_file)
    request = remote.SearchQuery(
        query, vector, limit, mode, weight, plan, rescore, oversample, filter_of_options(label, filter)
    )
    reranker = None if rerank is None else open_reranker_for(query, rerank)
    if reranker is not None:
        request = replace(request, limit=max(limit, CANDIDATES))
    if service in (None, "none"):
        found = remote.search_nearby(resolve_home(), request) if service is None and release == "current" else None
        answer = _search_locally(request, release) if found is None else found
    elif release != "current":
        raise UsageError(
            f"--release {release} and --service were both given.",
            "leave out one: a service answers from the release it serves.",
        )
    else:
        answer = remote.search(service, request)
    if reranker is not None:
        answer = {**answer, "hits": hits_in_order(reranker, query or "", answer["hits"], limit)}
    if as_json:
        print_json(answer)
        return
    if not answer["hits"]:
        log_line(_nothing_found(answer))
        return
    columns = [*([] if reranker is None else ["rerank_score"]), *_COLUMNS[answer["mode"]](rescore)]
    print_table([_row(hit) for hit in answer["hits"]], False, columns)
    if answer["mode"] == "hybrid":
        log_line("meaning, words: rank of the document in the search by each, of which the order is made")


_COLUMNS: dict[str, Callable[[str | None], list[str]]] = {
    "semantic": lambda rescore: [
        *(["score"] if rescore not in (None, "none") else []),
        "distance",
        "id",
        "title",
        "text",
    ],
    "keyword": lambda _: ["score", "id", "title", "text"],
    "hybrid": lambda _: ["meaning", "words", "id", "title", "text"],
}


def _nothing_found(answer: dict[str, Any]) -> str:
    if answer["mode"] == "keyword":
        return "no document has a word of the query, or the filter keeps none of those that have"
    if answer["known_words"]:
        return "the index has no documents, or the filter keeps none"
    if answer["mode"] != "semantic":
        return "no word of the query is in the vocabulary of the model, and no document has one of its words"
    return "no word of the query is in the vocabulary of the model, so it has no hits"


def _row(hit: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a hit: in a hybrid search with its rank by meaning and by words."""
    ranks = {name: (hit.get(side) or {}).get("rank", "") for name, side in _SIDES.items()}
    return {**hit, **ranks, **_without_title(hit["document"])}


def _without_title(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document for a table, its text without a title that begins it."""
    title, text = document["title"], document["text"]
    return {**document, "text": text.removeprefix(f"{title}\n") if title else text}


def _search_locally(query: SearchQuery, release: str) -> dict[str, Any]:
    from texthash.hamming.codes import to_hex
    from texthash.index.filters.given import filter_of
    from texthash.index.filters.language import where_of
    from texthash.index.ranked import documents_of
    from texthash.index.releases.release import read_release
    from texthash.index.search import SearchOptions, search_index

    home = resolve_home()
    record = read_release(home, release)
    if query.query is None and query.mode in ("keyword", "hybrid"):
        raise UsageError(f"a search with --mode {query.mode} needs a text.", "give one in place of --vector-file.")
    options = SearchOptions.resolved(
        record,
        query.mode,
        query.rescore,
        texts=query.query is not None,
        weight=query.weight,
        limit=query.limit,
        plan=query.plan,
        oversample=query.oversample,
        where=where_of(filter_of(query.filter), record.attributes, "--filter"),
    )
    mode = options.mode
    kind = _vector_kind(record) if options.rescoring == "float" and mode != "keyword" else None
    shards = record.open_shards(home)
    terms = None if mode == "semantic" else shards[0].keywords.query(query.query or "")
    for shard in shards if terms else []:
        shard.keywords.prepare_only(terms or ())
    if mode == "keyword":  # The model, which takes most of the time, is not needed.
        found, answer = search_index(shards, options, terms=terms), {"code": "", "known_words": True}
    else:
        features = None if query.vector is None else [query.vector]
        read = record.open_encoder(home).read([query.query or ""], kind, features)
        code, known = read.codes, bool(read.known[0])
        found = search_index(shards, options, code=code[0] if known else None, values=read.rescored_by[0], terms=terms)
        answer = {"code": to_hex(code)[0], "known_words": known}
    documents = documents_of(shards, found.page, ["title", "text", "labels", "attributes"])
    for document in documents:
        document["attributes"] = write_attributes(document["attributes"])
    hits = [
        {"id": document.pop("id"), **members, "document": document}
        for document, members in zip(documents, found.members, strict=True)
    ]
    searched = {"plan": found.plan, "candidates": found.candidates}
    return {"index_version": record.version, "mode": mode, **answer, "hits": hits, **searched}


def _vector_in(path: Path) -> list[float]:
    from texthash.corpora.prepared.embeddings.given import open_npy

    array = open_npy(path, least_dimensions=1)
    if array.ndim == 2 and len(array) != 1:
        raise UsageError(f"{path} holds {len(array)} vectors.", "give one: a search has one query.")
    return [float(number) for number in array.ravel()]


def _vector_kind(release: Release) -> VectorKind:
    if release.vectors is None:
        raise ModelMismatchError(
            f"the index of release {release.name} stores no vectors, which --rescore float needs.",
            "use --rescore asymmetric, or `texthash index build latest index.vectors=activations`.",
        )
    return release.vectors.kind
