"""Queries with the documents that a person expects among the first hits, chosen by hand."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field

from texthash.config import parse_section
from texthash.config.section import Section
from texthash.config.shipped import find_config
from texthash.errors import UsageError
from texthash.input_files import read_settings

_Filled = Annotated[str, Field(min_length=1)]


class ExpectedQuery(Section):
    """Query, and the ids of documents of which one is expected among its first hits."""

    text: _Filled
    expected: tuple[_Filled, ...] = Field(min_length=1)


class _File(Section):
    queries: tuple[ExpectedQuery, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Found:
    """Result of a query.

    Attributes:
        query: Query with its expected ids.
        hits: Ids of its first hits, the best first.
        rank: Rank of the first expected hit, from 1; None if there is none.
        missing: Expected ids that the index does not have.
    """

    query: ExpectedQuery
    hits: tuple[str, ...]
    rank: int | None
    missing: tuple[str, ...]

    def __str__(self) -> str:
        rank = "-" if self.rank is None else str(self.rank)
        missing = f" (not in the index: {', '.join(self.missing)})" if self.missing else ""
        return f"{rank:>4}  {self.query.text}: {', '.join(self.hits)}{missing}"


def read_expected(path: str | Path) -> tuple[ExpectedQuery, ...]:
    """Read a file of queries: ``queries: [{text: …, expected: [id, …]}]``, its own or one shipped with texthash.

    Raises:
        UsageError: There is no such file, or it has another form.
    """
    found = find_config(path, what="query")
    try:
        values = yaml.safe_load(read_settings(found, "queries"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{found} is not YAML: {error}", "correct the file.") from error
    if not isinstance(values, dict):
        raise UsageError(f"{found} has no list of queries.", "write queries: [{text: …, expected: [id, …]}].")
    return parse_section(_File, values, str(found)).queries


def judge(query: ExpectedQuery, hits: Sequence[str], known: Collection[str], k: int = 5) -> Found:
    """Find the first expected document among the hits of a query.

    Args:
        query: Query with its expected ids.
        hits: Ids of the hits, the best first.
        known: Those of the expected ids that the index has.
        k: Number of first hits that count.
    """
    first = tuple(hits[:k])
    rank = next((at for at, id_ in enumerate(first, 1) if id_ in query.expected), None)
    return Found(query, first, rank, tuple(id_ for id_ in query.expected if id_ not in known))
