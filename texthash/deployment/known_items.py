"""Choice of the order of search results by known-item search, for corpora without judged queries.

A validation document is divided into a query, its first sentence or its title, and the rest. The query should find the
rest among all documents of the index. Every second rest is without its title: where the words of a title tell what a
document is about, they would decide for the search by words, while a question often has other words. The mean
reciprocal rank at 10 decides, in this order,

1. whether hits by meaning are rescored by the query's activations,
2. the weight of the meaning in a hybrid search that fuses scores, of 0, 0.1, ..., 1: from the best weight towards the
   default, as long as the mean is at most two standard errors of the paired difference below the best.

First sentences share more words with their documents than people's questions do, and so overrate the search by words:
the best weight is often 0 where judged queries are answered better by both. The weights 0 and 1 are the two sides, so
that a hybrid search is on these queries never clearly worse than the better one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.hamming.asymmetric import asymmetric
from texthash.index.filters.selection import Selection
from texthash.index.fusion import DEPTH, Fusion, Side, fuse
from texthash.index.keywords.analysis import keyword_analyzer
from texthash.index.keywords.postings import KeywordIndex
from texthash.index.memory.hits import merge
from texthash.index.releases.release import SearchDefaults
from texthash.index.rescoring import search_rescored
from texthash.index.search import search_keywords
from texthash.index.shard import Shard
from texthash.index.storage.shard_format import read_index, shard_path
from texthash.models.vectors import encodes_texts
from texthash.progress import log_line, track

if TYPE_CHECKING:
    from texthash.config import KeywordAnalysis
    from texthash.models.hasher import Hasher
    from texthash.paths import StateDir

_QUERIES = 400
_AT_ONCE = 64  # queries of one search by meaning
_FEWEST = 20
_OVERSAMPLE = 4
_RANK = 10
WEIGHTS = tuple(round(0.1 * step, 1) for step in range(11))  # of the meaning, to choose from
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
_LEAST_WORDS = 3
_ERRORS = 2.0  # standard errors by which a weight may be below the best


@dataclass(frozen=True)
class KnownItem:
    """Query made of a document, and the rest of the document.

    Attributes:
        id: Id of the document.
        query: First sentence or title of the document.
        title: Title of the rest; empty if the title is the query or left out.
        text: Text of the rest.
    """

    id: str
    query: str
    title: str
    text: str


def known_items(corpus: PreparedCorpus, most: int = _QUERIES) -> list[KnownItem]:
    """Return known items of evenly spaced validation documents that can be divided, every second one untitled."""
    items = [
        item
        for table in corpus.validation.documents()
        for row in table.select(["id", "title", "text"]).to_pylist()
        if (item := divided(row["id"], row["title"] or "", row["text"] or ""))
    ]
    places = np.linspace(0, len(items) - 1, min(most, len(items))).astype(int)
    return [replace(items[at], title="") if row % 2 else items[at] for row, at in enumerate(places.tolist())]


def divided(document_id: str, title: str, text: str) -> KnownItem | None:
    """Divide a document into a query, its first sentence or else its title, and the rest.

    Returns None if neither has enough words and leaves a text.

    >>> divided("a", "", "Read a table from a file. The file may be compressed.").query
    'Read a table from a file.'
    """
    body = text.removeprefix(f"{title}\n") if title else text
    first, *more = _SENTENCE.split(body.strip(), maxsplit=1)
    if more and more[0].strip() and len(first.split()) >= _LEAST_WORDS:
        return KnownItem(document_id, first, title, more[0])
    if body.strip() and len(title.split()) >= _LEAST_WORDS:
        return KnownItem(document_id, title, "", body)
    return None


def defaults_of_promoted(home: StateDir, hasher: Hasher, index: Path) -> SearchDefaults | None:
    """Choose the defaults for an index that was made from another; None if the model's corpus is not available."""
    path = home.corpus(hasher.corpus, hasher.edition.name)
    if not (path / "manifest.json").is_file():
        return None
    return choose_defaults(hasher, PreparedCorpus.open(path), index)


def choose_defaults(hasher: Hasher, corpus: PreparedCorpus, index: Path, most: int = _QUERIES) -> SearchDefaults | None:
    """Choose the defaults of searches in an index that was built from a corpus, by at most ``most`` queries.

    Returns:
        None if the index has no words, the model encodes no texts, or fewer than 20 validation documents can be
        divided.
    """
    manifests = read_index(index)
    if manifests[0].keywords is None or not encodes_texts(hasher.method):
        return None
    items = known_items(corpus, most)
    if len(items) < _FEWEST:
        return None
    shards = [Shard.open(shard_path(index, number)) for number in range(len(manifests))]
    by_id: dict[str, int] = {}
    for shard in shards:
        rows = shard.rows(["id", "number"], [item.id for item in items])
        by_id.update(zip(rows["id"].to_pylist(), rows["number"].to_pylist(), strict=True))
    items = [item for item in items if item.id in by_id]
    numbers = [by_id[item.id] for item in items]
    near = _by_meaning(hasher, shards, items, numbers)
    words = _by_words(shards, items, numbers, manifests[0].keywords)
    means = {name: _mean_reciprocal_rank(sides, numbers) for name, sides in near.items()}
    rescoring: Literal["none", "asymmetric"] = "asymmetric" if means["asymmetric"] > means["none"] else "none"
    fused = {
        weight: _reciprocal_ranks(
            [
                fuse(own, other, Fusion(weight), _RANK).numbers
                for own, other in zip(near[rescoring], words, strict=True)
            ],
            numbers,
        )
        for weight in WEIGHTS
    }
    weight = weight_within_error(fused)
    chosen = SearchDefaults(
        weight=weight,
        rescoring=rescoring,
        queries=len(items),
        semantic=means[rescoring],
        keyword=_mean_reciprocal_rank(words, numbers),
        hybrid=float(fused[weight].mean()),
        fusion=Fusion().kind,
    )
    log_line(
        f"known items: MRR@10 of {chosen.queries} validation queries {chosen.semantic:.3f} by meaning, "
        f"{chosen.keyword:.3f} by words, {chosen.hybrid:.3f} by both with weight {weight} of the meaning"
    )
    return chosen


def _by_meaning(
    hasher: Hasher, shards: Sequence[Shard], items: Sequence[KnownItem], numbers: Sequence[int]
) -> dict[str, list[Side]]:
    """Return the lists of all queries, by distance and rescored, in which each document is replaced by its rest."""
    read = hasher.read([item.query for item in items], role="query")
    codes, values = hasher.binarize(read.values), hasher.query_values(read.values)
    rest = hasher.read([item.text for item in items])
    own = hasher.binarize(rest.values)
    lists: dict[str, list[Side]] = {kind: [_side([])] * len(items) for kind in ("none", "asymmetric")}
    most = DEPTH * _OVERSAMPLE
    known = np.flatnonzero(read.known)
    for rows in track(np.split(known, range(_AT_ONCE, len(known), _AT_ONCE)), "known items"):
        hits, _ = merge([shard.search(codes[rows], most + 1) for shard in shards], most + 1)
        scored = search_rescored(shards, codes[rows], values[rows], DEPTH + 1, oversample=_OVERSAMPLE)
        for at, row in enumerate(rows.tolist()):
            number = numbers[row]
            distance = int(np.bitwise_count(codes[row] ^ own[row]).sum()) if rest.known[row] else None
            near = list(zip(hits.distances[at].tolist(), hits.numbers[at].tolist(), strict=True))
            near = [hit for hit in near if hit[1] != number]
            if distance is not None:
                near = sorted([*near, (distance, number)])
            lists["none"][row] = _side([(hasher.bits / 2 - far, found) for far, found in near])
            ranked = [
                (-score, far, found)
                for score, far, found in zip(
                    scored.scores[at].tolist(),
                    scored.hits.distances[at].tolist(),
                    scored.hits.numbers[at].tolist(),
                    strict=True,
                )
                if found != number
            ]
            if distance is not None and (distance, number) in near[:most]:
                ranked.append((-float(asymmetric(values[row], own[row : row + 1])[0]), distance, number))
            lists["asymmetric"][row] = _side([(-score, found) for score, _, found in sorted(ranked)])
    return lists


def _by_words(
    shards: Sequence[Shard], items: Sequence[KnownItem], numbers: Sequence[int], analysis: KeywordAnalysis
) -> list[Side]:
    """Return the lists of all queries by words, in which each document is replaced by its rest."""
    analyzer, lists = keyword_analyzer(analysis), []
    order = np.argsort(numbers)
    column = analyzer.documents([items[at].title for at in order], [items[at].text for at in order])
    rests = KeywordIndex.read([(np.asarray(numbers)[order], column)], None, shards[0].keywords.weights)
    for item, number in zip(items, numbers, strict=True):
        query = analyzer.query(item.query)
        if not query:
            lists.append(_side([]))
            continue
        parts = search_keywords(shards, query, DEPTH + 1)
        ranked = [
            (-score, found)
            for part in parts
            for score, found in zip(part.scores.tolist(), part.numbers.tolist(), strict=True)
            if found != number
        ]
        statistics = reduce(add, [shard.keywords.statistics(list(query)) for shard in shards])
        itself = Selection(number, np.ones(1, np.bool_))
        ranked += [(-score, number) for score in rests.search(query, statistics, 1, itself).scores.tolist()]
        lists.append(_side([(-score, found) for score, found in sorted(ranked)]))
    return lists


def _side(ranked: Sequence[tuple[float, int]]) -> Side:
    """Return the first documents of a list of scores and numbers."""
    scores, numbers = ([pair[member] for pair in ranked[:DEPTH]] for member in (0, 1))
    return Side(np.asarray(numbers, np.int64), np.asarray(scores, np.float64))


def _mean_reciprocal_rank(sides: Sequence[Side], numbers: Sequence[int]) -> float:
    return float(_reciprocal_ranks([side.numbers for side in sides], numbers).mean())


def _reciprocal_ranks(lists: Sequence[NDArray[np.int64]], numbers: Sequence[int]) -> NDArray[np.float64]:
    """Return 1 / rank of the wanted document of each query, 0 if it is not among the first 10; float64 [Q]."""
    ranks = [np.flatnonzero(found[:_RANK] == number) for found, number in zip(lists, numbers, strict=True)]
    return np.array([1.0 / (1 + at[0]) if len(at) else 0.0 for at in ranks])


def weight_within_error(scores: Mapping[float, NDArray[np.float64]]) -> float:
    """Choose the weight of the meaning by the scores of the same queries with each weight.

    Args:
        scores: Score of each query, float64 [Q], by weight.

    Returns:
        From the weight of the best mean towards that of :class:`~texthash.index.fusion.Fusion`, the last whose mean,
        like those on the way, is at most two standard errors of the paired difference below the best.
    """
    best = max(scores, key=lambda weight: scores[weight].mean())
    first, last = sorted((best, Fusion().weight))
    chosen = best
    for weight in sorted((w for w in scores if first <= w <= last), key=lambda weight: abs(weight - best)):
        loss = scores[best] - scores[weight]
        if loss.mean() > _ERRORS * loss.std() / len(loss) ** 0.5:
            break
        chosen = weight
    return chosen
