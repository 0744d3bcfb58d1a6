"""Commands on releases: build an index, inspect it, search it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from texthash.cli.options import Address, ConfigFile, Json, Model, Overrides, on_ray
from texthash.cli.output import print_document, print_json, print_table
from texthash.config import VectorKind, load_config
from texthash.errors import ModelMismatchError, TexthashError, UsageError
from texthash.paths import resolve_home
from texthash.progress import log_line

if TYPE_CHECKING:
    from texthash.index.releases.release import OpenRelease, Release
    from texthash.models.hasher import TextActivations

index_app = typer.Typer(no_args_is_help=True, help="Build, inspect, change and search indexes.")
Query = Annotated[str, typer.Argument(help="Text to search for.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Maximum number of hits.")]
ReleaseName = Annotated[str, typer.Option("--release", help="Name of a release, or current.")]
PlanName = Annotated[Literal["auto", "flat", "mih"], typer.Option("--plan", help="Search strategy; all are exact.")]
Rescore = Annotated[
    Literal["none", "asymmetric", "float"],
    typer.Option(
        help="Finer order of the nearest: asymmetric by the query's activations; float by the cosine with the vectors "
        "of the index (index.vectors)."
    ),
]
Oversample = Annotated[
    int, typer.Option(min=1, max=100, help="Number of reordered documents, as a multiple of the limit.")
]
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
        print_json(asdict(steps.release(resolve_home(), model, settings, executor)))


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
    """Show a document of the index by its id, with its code. Example: `texthash index show sklearn.svm/SVC`"""
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
    return {**document, "code": document["code"].hex(), "index_version": release.version}


@index_app.command()
def search(
    query: Query,
    limit: Limit = 10,
    release: ReleaseName = "current",
    plan: PlanName = "auto",
    rescore: Rescore = "none",
    oversample: Oversample = 4,
    service: Service = None,
    as_json: Json = False,
) -> None:
    """Search the released index. Example: `texthash search "sort an array" --rescore asymmetric --plan mih --json`

    A service answers, or this process, which loads the model first. Both give the same answer, with --json in the form
    of the service: a query without a known word has no hits.
    """
    from texthash.cli import remote

    request = remote.SearchQuery(query, limit, plan, rescore, oversample)
    if service in (None, "none"):
        found = remote.search_nearby(resolve_home(), request) if service is None and release == "current" else None
        answer = _search_locally(query, limit, release, plan, rescore, oversample) if found is None else found
    elif release != "current":
        raise UsageError(
            f"--release {release} and --service were both given.",
            "leave out one: a service answers from the release it serves.",
        )
    else:
        answer = remote.search(service, request)
    if as_json:
        print_json(answer)
        return
    if not answer["known_words"]:
        log_line("no word of the query is in the vocabulary of the model, so it has no hits")
        return
    rows = [{**hit, **_without_title(hit["document"])} for hit in answer["hits"]]
    print_table(rows, False, [*(["score"] if rescore != "none" else []), "distance", "id", "title", "text"])


def _without_title(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document for a table, its text without a title that begins it."""
    title, text = document["title"], document["text"]
    return {**document, "text": text.removeprefix(f"{title}\n") if title else text}


def _search_locally(
    query: str, limit: int, release: str, plan: PlanName, rescore: Rescore, oversample: int
) -> dict[str, Any]:
    from texthash.hamming.codes import to_hex
    from texthash.index.releases.release import open_release

    opened = open_release(resolve_home(), release)
    kind = _vector_kind(opened.release) if rescore == "float" else None
    read = opened.hasher.read([query], role="query", vectors=kind)
    hits = _hits(opened, read, limit, plan, rescore, oversample) if read.known[0] else {"hits": []}
    answer = {"code": to_hex(opened.hasher.binarize(read.values))[0], "known_words": bool(read.known[0])}
    return {"index_version": opened.release.version, **answer, **hits}


def _vector_kind(release: Release) -> VectorKind:
    if release.vectors is None:
        raise ModelMismatchError(
            f"the index of release {release.name} stores no vectors, which --rescore float needs.",
            "use --rescore asymmetric, or `texthash index build latest index.vectors=activations`.",
        )
    return release.vectors.kind


def _hits(
    opened: OpenRelease, read: TextActivations, limit: int, plan: PlanName, rescore: Rescore, oversample: int
) -> dict[str, Any]:
    """Return the hits of a query, with scores if they are rescored, and the strategy of the search."""
    from texthash.index.rescoring import search_rescored
    from texthash.index.shard import merge

    code = opened.hasher.binarize(read.values)
    if rescore == "none":
        found, shards = merge([shard.search(code, limit, plan=plan) for shard in opened.shards], limit)
        scores: list[dict[str, float]] = [{} for _ in found.numbers[0]]
    else:
        values = opened.hasher.pre_threshold_margins(read.values) if read.vectors is None else read.vectors
        rescored = search_rescored(opened.shards, code, values, limit, kind=rescore, oversample=oversample, plan=plan)
        found, shards = rescored.hits, rescored.shards
        scores = [{"score": float(score)} for score in rescored.scores[0]]
    addresses = [(int(shard), int(number)) for shard, number in zip(shards[0], found.numbers[0], strict=True)]
    documents = _documents(opened, addresses)
    hits = [
        {"id": document.pop("id"), "distance": int(distance), **score, "document": document}
        for distance, score, document in zip(found.distances[0], scores, documents, strict=True)
    ]
    return {"plan": found.plans[0], "candidates": int(found.candidates[0]), "hits": hits}


def _documents(opened: OpenRelease, addresses: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """Return documents by shard and number, in this order; each shard is read once."""
    numbers: dict[int, list[int]] = {}
    for shard, number in addresses:
        numbers.setdefault(shard, []).append(number)
    read = {
        shard: iter(opened.shards[shard].documents(wanted, ["title", "text", "labels"]))
        for shard, wanted in numbers.items()
    }
    return [next(read[shard]) for shard, _ in addresses]
