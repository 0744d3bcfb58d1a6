"""Commands that count and list the documents of an index."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from texthash.api.attributes import write_attributes
from texthash.api.body import DocumentField
from texthash.cli.indexes import Label, ReleaseName, index_app
from texthash.cli.options import Filtered, Json
from texthash.cli.output import print_json, print_table, written_json
from texthash.errors import UsageError, nearest_name
from texthash.paths import resolve_home

if TYPE_CHECKING:
    from texthash.index.filters.language import Where
    from texthash.index.releases.release import Release

_FIELDS = get_args(DocumentField)
Server = Annotated[
    str | None, typer.Option("--service", metavar="URL", help="Service that answers. Default: this process.")
]


@index_app.command("facets")
def index_facets(
    facets: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME[=OPTIONS]...", help="labels, or an attribute; OPTIONS as JSON, as in the HTTP API."
        ),
    ],
    label: Label = None,
    filter: Filtered = None,
    release: ReleaseName = "current",
    service: Server = None,
    as_json: Json = False,
) -> None:
    """Count documents by label or attribute. Example: `texthash index facets labels 'year={"ranges": 5}'`"""
    from texthash.index.filters.given import filter_of_options

    options = dict(map(_facet, facets))
    given = filter_of_options(label, filter)
    if service is not None:
        from texthash.client import Client

        _check_current(release)
        with Client(service) as client:
            found = client.facets(options, filter=given).model_dump(exclude_unset=True)
    else:
        found = _count_locally(options, given, release)
    if as_json:
        print_json(found)
    else:
        print_table([row for name, own in found["counts"].items() for row in _rows(name, own)], False)


@index_app.command("scroll")
def index_scroll(
    label: Label = None,
    filter: Filtered = None,
    sort: Annotated[
        str | None, typer.Option(metavar="ATTRIBUTE[:desc]", help="Attribute to sort by; documents without it last.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of documents; default all.")] = None,
    field: Annotated[
        list[str] | None, typer.Option(help=f"Field to write; may be repeated. Default: {', '.join(_FIELDS)}.")
    ] = None,
    release: ReleaseName = "current",
    service: Server = None,
) -> None:
    """Write all documents as JSON Lines, in order. Example: `texthash index scroll --sort year:desc --limit 20`"""
    from itertools import islice

    from texthash.index.filters.given import filter_of_options

    given, fields = filter_of_options(label, filter), _fields(field)
    order = None if sort is None else _order(sort)
    if service is not None:
        _check_current(release)
        documents = _from_service(service, given, order, fields)
    else:
        documents = _from_release(release, given, order, fields)
    for document in islice(documents, limit):
        print(written_json(document, sys.stdout))


def _fields(names: list[str] | None) -> tuple[DocumentField, ...]:
    for name in names or ():
        if name not in _FIELDS:
            raise UsageError(f"--field {name}: documents have no such field.", nearest_name(name, _FIELDS))
    return tuple(cast("list[DocumentField]", names or _FIELDS))


def _facet(word: str) -> tuple[str, dict[str, Any]]:
    name, _, text = word.partition("=")
    if not text:
        return name, {}
    try:
        options = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the options of the facet {name} are not JSON: {error}.", _EXAMPLE) from None
    if not isinstance(options, dict):
        raise UsageError(f"the options of the facet {name} are {text}, not an object.", _EXAMPLE)
    return name, options


_EXAMPLE = """write them as 'year={"ranges": 5}'."""


def _order(text: str) -> tuple[str, bool]:
    name, _, direction = text.partition(":")
    if direction not in ("", "asc", "desc"):
        raise UsageError(f"--sort {text}: {direction!r} is no direction.", f"write {name}:asc or {name}:desc.")
    return name, direction == "desc"


def _check_current(release: str) -> None:
    if release != "current":
        raise UsageError(
            f"--release {release} and --service were both given.",
            "leave out one: a service answers from the release it serves.",
        )


def _count_locally(options: Mapping[str, Any], given: Mapping[str, Any] | None, release: str) -> dict[str, Any]:
    from texthash.index.filters.given import facets_of as facets_given
    from texthash.index.matches import Matches, facets_of

    record, where = _release_and_condition(release, given)
    counted = facets_of(record.open_shards(resolve_home()), facets_given(options), Matches(where), record.attributes)
    return {**counted, "release": record.name, "index_version": record.version}


def _rows(facet: str, counted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table: values, the rest of them, ranges, and documents without a value."""
    for row in counted.get("values") or ():
        yield {"facet": facet, "value": _shown(row["value"]), "documents": row["count"]}
    if counted.get("rest"):
        others = counted["distinct"] - len(counted["values"])
        yield {"facet": facet, "value": f"({others} others)", "documents": counted["rest"]}
    for row in counted.get("ranges") or ():
        bounds = ", ".join(f"{_SIGNS[sign]} {_shown(value)}" for sign, value in row["range"].items())
        yield {"facet": facet, "value": bounds, "documents": row["count"]}
    if counted["missing"]:
        yield {"facet": facet, "value": "(none)", "documents": counted["missing"]}


_SIGNS = {"gte": ">=", "lt": "<", "lte": "<="}


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value["date"])
    return str(value).lower() if isinstance(value, bool) else str(value)


def _from_service(
    url: str, given: Mapping[str, Any] | None, order: tuple[str, bool] | None, fields: tuple[DocumentField, ...]
) -> Iterator[dict[str, Any]]:
    from texthash.client import Client

    sort, descending = order or (None, False)
    with Client(url) as client:
        for found in client.scroll_all(filter=given, sort=sort, descending=descending, fields=fields):
            yield {"id": found.id, **found.document}


def _from_release(
    release: str,
    given: Mapping[str, Any] | None,
    order: tuple[str, bool] | None,
    fields: tuple[DocumentField, ...],
) -> Iterator[dict[str, Any]]:
    from texthash.index.filters.order import checked_sort
    from texthash.index.matches import scroll

    record, where = _release_and_condition(release, given)
    sort = None if order is None else checked_sort(*order, record.attributes, "--sort")
    for document in scroll(record.open_shards(resolve_home()), where, sort, fields, 1000):
        if "attributes" in document:
            document["attributes"] = write_attributes(document["attributes"])
        yield document


def _release_and_condition(name: str, given: Mapping[str, Any] | None) -> tuple[Release, Where | None]:
    from texthash.index.filters.given import filter_of
    from texthash.index.filters.language import where_of
    from texthash.index.releases.release import read_release

    release = read_release(resolve_home(), name)
    return release, where_of(filter_of(given), release.attributes, "--filter")
