"""Facets and pages of documents over all shards."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from texthash.api.facets import FacetOptions, FacetsRequest
from texthash.api.scroll import Cursor, CursorError, ScrollRequest, SortBy, digest_of
from texthash.errors import TexthashError
from texthash.index.filters.facets import FacetType, check_facets, facet_counts
from texthash.index.filters.language import FilterError, Types
from texthash.index.filters.order import After, Sort, checked_sort, first_of
from texthash.index.matches import Matches
from texthash.index.releases.release import Release
from texthash.service.filtering import attribute_problem, condition
from texthash.service.interfaces import ShardClient
from texthash.service.problems import Problem
from texthash.service.queries import PendingQuery
from texthash.service.shard_answers import Wanted, answers, documents_of

_RELEASES = 1_000


@dataclass(frozen=True)
class Page:
    """Page of documents.

    Attributes:
        release: Release of all pages.
        total: Number of documents of all pages.
        documents: Documents of the page, with the requested fields.
        cursor: Cursor of the next page; None if this one is the last.
    """

    release: Release
    total: int
    documents: list[dict[str, Any]]
    cursor: str | None


def facet_types(facets: Mapping[str, FacetOptions], release: Release) -> dict[str, FacetType]:
    """Return the type of each facet; raises :class:`Problem` for one that does not fit the attributes of a release."""
    return _fitting(lambda: check_facets(facets, release.attributes))


class Browsing:
    """Facets and pages over all shards.

    Args:
        shards: Client of each shard, in order.
    """

    def __init__(self, shards: Sequence[ShardClient]) -> None:
        self._shards = shards
        self._served: OrderedDict[str, Release] = OrderedDict()

    def serve(self, release: Release) -> None:
        """Remember a release that is served from now on, in which cursors continue later."""
        self._served[release.name] = release
        self._served.move_to_end(release.name)
        while len(self._served) > _RELEASES:
            self._served.popitem(last=False)

    async def facets(self, release: Release, request: FacetsRequest) -> dict[str, Any]:
        """Return the facets of the documents that a filter keeps.

        Raises:
            Problem: Filter or facets do not fit the attributes, or a shard is unavailable.
        """
        where = condition(request.filter, release)
        found, unavailable = await self.count(release, request.facets, Matches(where))
        if unavailable:
            raise next(iter(unavailable.values()))
        return found

    async def count(
        self, release: Release, facets: Mapping[str, FacetOptions], matches: Matches
    ) -> tuple[dict[str, Any], dict[int, Problem]]:
        """Return facets of the matching documents of the shards that answer, and the problems of the others."""
        types = facet_types(facets, release)
        calls = {number: shard.facets(release.name, matches, types) for number, shard in enumerate(self._shards)}
        answered, unavailable = await answers(calls)
        if not answered:
            raise next(iter(unavailable.values()))
        return await asyncio.to_thread(facet_counts, facets, types, list(answered.values())), unavailable

    async def page(self, current: Release, request: ScrollRequest) -> Page:
        """Return a page of documents.

        Raises:
            Problem: Filter or sort do not fit the attributes, the cursor is damaged or that of another filter, sort or
                server, or a shard is unavailable.
        """
        release, after = current, None
        if request.cursor is not None:
            cursor = _cursor_of(request)
            release, after = self._release_of(cursor, current), After(cursor.number, cursor.value)
        where, sort = condition(request.filter, release), _sort_of(request.sort, release.attributes)
        calls = [shard.page(release.name, where, sort, after, request.limit + 1) for shard in self._shards]
        try:
            found = await asyncio.gather(*calls)
        except TexthashError as error:
            if release.name == current.name:
                raise
            raise _expired(release.name, current.name, error.problem) from None
        listed, owners = first_of([part for _, part in found], sort, request.limit + 1)
        count = min(request.limit, len(owners))
        following = None
        if len(owners) > count:
            last = int(listed.numbers[count - 1]), listed.values[count - 1]
            following = Cursor(release.name, digest_of(request.filter, request.sort), *last).write()
        fields = (*request.fields, *(("code",) if request.include_code else ()))
        wanted = Wanted(listed.numbers[:count], owners[:count], fields)
        (documents,) = await documents_of(self._shards, release.name, [wanted])
        return Page(release, sum(total for total, _ in found), documents, following)

    async def complete(self, release: Release, queries: Sequence[PendingQuery]) -> dict[int, Problem]:
        """Set the facets of queries that ask for some, and return the problems of unavailable shards.

        Queries with the same matching documents and facets share the counts.
        """
        groups: dict[tuple[Matches, str], list[PendingQuery]] = {}
        for query in queries:
            if query.request.facets is not None:
                key = str({name: own.model_dump() for name, own in query.request.facets.items()})
                groups.setdefault((query.matches, key), []).append(query)
        unavailable: dict[int, Problem] = {}
        for (matches, _), own in groups.items():
            counted, missing = await self.count(release, own[0].request.facets or {}, matches)
            unavailable |= missing
            for query in own:
                query.facets = counted
        return unavailable

    def _release_of(self, cursor: Cursor, current: Release) -> Release:
        if cursor.release not in self._served:
            raise _expired(cursor.release, current.name, "this server has not served it")
        return self._served[cursor.release]


def _cursor_of(request: ScrollRequest) -> Cursor:
    assert request.cursor is not None
    try:
        return Cursor.read(request.cursor, request.filter, request.sort)
    except CursorError as error:
        raise Problem(
            "invalid-field", f"cursor {error}.", errors=[{"loc": ["body", "cursor"], "msg": str(error)}]
        ) from None


def _expired(name: str, current: str, reason: str) -> Problem:
    return Problem(
        "cursor-expired",
        f"the cursor belongs to release {name}, of which no further page can be read: {reason.rstrip('.')}. The "
        f"current release is {current}.",
    )


def _sort_of(given: SortBy | None, types: Types) -> Sort | None:
    if given is None:
        return None
    return _fitting(lambda: checked_sort(given.attribute, given.order == "desc", types))


def _fitting(check: Any) -> Any:
    try:
        return check()
    except FilterError as error:
        raise attribute_problem(error) from None
