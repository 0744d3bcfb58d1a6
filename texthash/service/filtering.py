"""Filters of requests, with the attributes of the release that answers."""

from __future__ import annotations

from texthash.api.filters import Filter
from texthash.index.filters.language import FilterError, Where, where_of
from texthash.index.releases.release import Release
from texthash.service.problems import Problem


def condition(given: Filter | None, release: Release) -> Where | None:
    """Return the condition of a filter; None without one.

    Raises:
        Problem: The filter does not fit the attributes of the release.
    """
    try:
        return where_of(given, release.attributes)
    except FilterError as error:
        raise attribute_problem(error) from None


def attribute_problem(error: FilterError) -> Problem:
    """Return the problem of a filter, sort or facet that does not fit the attributes of the index."""
    return Problem("attribute-mismatch", f"{error.problem} {error.remedy}")
