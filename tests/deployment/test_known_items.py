"""Defaults of searches, chosen on validation documents by known-item search."""

from __future__ import annotations

import numpy as np
import pytest

from texthash.corpora.document import SPLITS
from texthash.deployment.known_items import choose_defaults, divided, known_items, weight_within_error
from texthash.hamming.asymmetric import asymmetric
from texthash.index.keywords.analysis import keyword_analyzer
from texthash.index.keywords.postings import KeywordIndex
from texthash.index.keywords.weights import WordWeights
from texthash.index.releases.publish import publish
from texthash.index.releases.release import read_release
from texthash.index.writing.build import build_index
from texthash.models.hasher import Hasher
from texthash.paths import StateDir


@pytest.mark.parametrize(
    ("title", "text", "query", "left"),
    [
        ("", "Read a table from a file. More of it.", "Read a table from a file.", ("", "More of it.")),
        (
            "pandas.read_csv",
            "Read a table.\n\nParameters follow",
            "Read a table.",
            ("pandas.read_csv", "Parameters follow"),
        ),
        ("A title of words", "A title of words\nOne sentence only", "A title of words", ("", "One sentence only")),
        ("short", "Too short. And more", None, None),
        ("", "", None, None),
    ],
)
def test_a_document_is_divided_into_a_query_and_the_rest(title, text, query, left):
    found = divided("d", title, text)
    assert (found and found.query, found and (found.title, found.text)) == (query, left)


def reciprocal(order: list[int], own: int) -> float:
    return 1 / (1 + order[:10].index(own)) if own in order[:10] else 0.0


def test_the_figures_are_those_of_an_index_without_the_queries(small_corpus, small_hasher, tmp_path):
    index = build_index(small_hasher, small_corpus.path, StateDir(tmp_path), shards=2)
    hasher = Hasher.load(small_hasher)
    chosen = choose_defaults(hasher, small_corpus, index, most=20)
    items = known_items(small_corpus, 20)
    assert chosen is not None
    assert chosen.queries == len(items) == 20
    rows = [row for split in SPLITS for table in small_corpus.split(split).documents() for row in table.to_pylist()]
    numbers = {row["id"]: number for number, row in enumerate(rows)}
    codes = np.concatenate([hasher.encode_split(small_corpus.split(split)) for split in SPLITS])
    analyzer = keyword_analyzer("english")
    weights = WordWeights()
    parts = [(row["title"], row["text"]) for row in rows]
    whole = KeywordIndex.read([(np.arange(len(rows)), analyzer.documents(*zip(*parts, strict=True)))], weights=weights)
    found: dict[str, list[float]] = {"keyword": [], "none": [], "asymmetric": []}
    for item in items:
        own, query = numbers[item.id], analyzer.query(item.query)
        rest = analyzer.documents(*zip(*parts[:own], (item.title, item.text), *parts[own + 1 :], strict=True))
        without = KeywordIndex.read([(np.arange(len(rows)), rest)], weights=weights)
        # The counts are those of the index as it is: only the document itself is replaced.
        hits = without.search(query, whole.statistics(list(query)), 10)
        found["keyword"].append(reciprocal(hits.numbers.tolist(), own))
        read = hasher.read([item.query], role="query")
        replaced = codes.copy()
        replaced[own] = hasher.encode([item.text])[0]
        distances = np.bitwise_count(replaced ^ hasher.binarize(read.values)).sum(axis=1)
        near = np.lexsort((np.arange(len(rows)), distances))
        found["none"].append(reciprocal(near.tolist(), own))
        scores = asymmetric(hasher.query_values(read.values)[0], replaced[near[:400]])
        order = near[:400][np.lexsort((near[:400], distances[near[:400]], -scores))]
        found["asymmetric"].append(reciprocal(order.tolist(), own))
    assert chosen.keyword == pytest.approx(np.mean(found["keyword"]))
    assert chosen.semantic == pytest.approx(max(np.mean(found["none"]), np.mean(found["asymmetric"])))
    assert chosen.rescoring == ("asymmetric" if np.mean(found["asymmetric"]) > np.mean(found["none"]) else "none")
    assert 0 < chosen.hybrid <= 1


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({0.0: [1.0] * 50, 0.4: [0.9] * 50, 1.0: [0.0] * 50}, 0.0),  # every query is answered worse
        ({0.0: [1.0, 0.0, 1.0] * 20, 0.4: [0.0, 1.0, 0.9] * 20, 1.0: [0.0] * 60}, 0.4),  # some worse, some better
        ({0.0: [1.0, 0.0] * 20, 0.4: [1.0] * 20 + [0.0] * 20}, 0.4),  # equal means
        ({0.3: [0.5] * 10, 0.7: [0.5] * 9 + [0.6], 1.0: [0.5] * 9 + [0.7]}, 0.7),
        ({0.2: [1.0] * 20, 0.3: [0.9] * 20, 0.5: [1.0] * 19 + [0.9]}, 0.2),  # a worse one is in between
        ({0.0: [0.0] * 5, 0.9: [0.5] * 5, 1.0: [1.0] * 5}, 1.0),
    ],
)
def test_the_weight_is_the_nearest_to_the_default_that_queries_cannot_tell_from_the_best(scores, expected):
    given = {weight: np.array(own) for weight, own in scores.items()}
    assert weight_within_error(given) == expected


def test_a_release_keeps_its_defaults_through_writes(small_corpus, small_hasher, tmp_path):
    home = StateDir(tmp_path)
    index = build_index(small_hasher, small_corpus.path, home, shards=1)
    chosen = choose_defaults(Hasher.load(small_hasher), small_corpus, index)
    release = publish(home, small_hasher, index, defaults=chosen)
    assert read_release(home, release.name).defaults == chosen


def test_nothing_is_chosen_without_words(small_corpus, small_hasher, tmp_path):
    index = build_index(small_hasher, small_corpus.path, StateDir(tmp_path), shards=1, keywords=None)
    assert choose_defaults(Hasher.load(small_hasher), small_corpus, index) is None
