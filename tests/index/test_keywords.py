"""Keyword search: analysis, exact BM25 over writes and shards, and its place in a shard's versions."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from texthash.index.filters.selection import Selection
from texthash.index.keywords.analysis import KeywordAnalyzer
from texthash.index.keywords.bm25 import LengthNorm
from texthash.index.keywords.postings import KeywordHits, KeywordIndex
from texthash.index.keywords.top import Postings, load_kernel, plain_top, top_documents
from texthash.index.keywords.weights import LEAD_WORDS, SEPARATOR, WordWeights

WORDS = st.lists(st.sampled_from("abcdefg"), max_size=9)
QUERY = st.dictionaries(st.sampled_from("abcdefgxy"), st.integers(1, 3), min_size=1, max_size=5)


def column(words):
    return pa.array(list(words), pa.list_(pa.string()))


def brute_force(documents: dict[int, list[str]], query: dict[str, int], k1=1.2, b=0.75) -> dict[int, float]:
    """Return the BM25 score of every document with a word of the query, straight from the equation."""
    total = sum(map(len, documents.values()))
    mean = total / len(documents) if total else 1.0
    scores: dict[int, float] = {}
    for number, words in documents.items():
        score, counts = 0.0, Counter(words)
        for term in filter(counts.get, query):  # for others the fraction is 0, or 0 / 0 without words and at b = 1
            containing = sum(term in other for other in documents.values())
            idf = math.log(1 + (len(documents) - containing + 0.5) / (containing + 0.5))
            score += query[term] * idf * counts[term] / (counts[term] + k1 * (1 - b + b * len(words) / mean))
        if score:
            scores[number] = score
    return scores


def expected(documents, query, limit, boosts, **constants):
    scores = brute_force(documents, query, **constants)
    scores = {number: score * boosts.get(number, 1.0) for number, score in scores.items()}
    return sorted(scores.items(), key=lambda item: (-round(item[1], 9), item[0]))[:limit]


def check(hits: KeywordHits, documents, query, limit, boosts=MappingProxyType({}), **constants) -> None:
    wanted = expected(documents, query, limit, boosts, **constants)
    assert hits.scores == pytest.approx([score for _, score in wanted], rel=1e-12)
    assert hits.numbers.tolist() == [number for number, _ in wanted]


@settings(deadline=None)
@given(documents=st.lists(WORDS, min_size=1, max_size=40), query=QUERY, limit=st.integers(1, 12), data=st.data())
def test_scores_are_those_of_the_equation_after_any_writes(documents, query, limit, data):
    half = data.draw(st.integers(0, len(documents)))
    live = dict(enumerate(documents[:half]))
    index = KeywordIndex.read([(np.arange(half), column(documents[:half]))])
    for first in range(half, len(documents), 3):
        gone = [n for n in live if data.draw(st.booleans(), label=f"{n} is deleted or replaced")][:3]
        added = {n: documents[n] for n in range(first, min(first + 3, len(documents)))}
        if gone and data.draw(st.booleans()):
            added[gone[0]] = documents[first]  # keeps its number
        words = [live[n] for n in gone]
        index = index.changed(np.asarray(gone, np.int64), words, np.asarray(list(added)), column(added.values()))
        live = {n: own for n, own in live.items() if n not in gone} | added
    found = index.search(query, index.statistics(list(query)), limit)
    if live:
        check(found, live, query, limit)
    assert index.statistics(["a"]).words == sum(map(len, live.values()))
    assert index.containing(list(query)).tolist() == sorted(brute_force(live, query))


@settings(deadline=None)
@given(documents=st.lists(WORDS, min_size=1, max_size=30), query=QUERY, shards=st.integers(1, 4))
def test_the_number_of_shards_changes_neither_scores_nor_order(documents, query, shards):
    rows = [[n for n in range(len(documents)) if n % shards == shard] for shard in range(shards)]
    parts = [KeywordIndex.read([(np.asarray(own, np.int64), column(documents[n] for n in own))]) for own in rows]
    terms = list(query)
    statistics = parts[0].statistics(terms)
    for part in parts[1:]:
        statistics += part.statistics(terms)
    found = [part.search(query, statistics, 8) for part in parts]
    merged, places = KeywordHits.best(found, 8)
    whole = KeywordIndex.read([(np.arange(len(documents)), column(documents))])
    alone = whole.search(query, whole.statistics(terms), 8)
    assert merged.numbers.tolist() == alone.numbers.tolist()
    assert merged.scores.tolist() == alone.scores.tolist()
    assert np.concatenate([part.numbers for part in found])[places].tolist() == merged.numbers.tolist()


PARTS = st.lists(st.tuples(WORDS, st.lists(st.sampled_from("abcdefg"), max_size=20)), min_size=1, max_size=20)


@settings(deadline=None)
@given(
    documents=PARTS,
    query=QUERY,
    title=st.integers(1, 9),
    lead=st.integers(1, 9),
    brevity=st.sampled_from([0.0, 0.2, 1.0]),
    k1=st.sampled_from([1.2, 3.0]),
    b=st.sampled_from([0.0, 0.1, 0.75, 1.0]),
    shards=st.integers(1, 3),
)
def test_words_of_title_and_lead_count_by_their_weights_and_short_titles_by_brevity(
    documents, query, title, lead, brevity, k1, b, shards
):
    weights = WordWeights(title, lead, brevity, k1, b)
    repeated = {
        n: [*head * title, *text[:LEAD_WORDS] * lead, *text[LEAD_WORDS:]] for n, (head, text) in enumerate(documents)
    }
    stored = column([*head, SEPARATOR, *text] for head, text in documents)
    numbers = np.arange(len(documents))
    parts = []
    for shard in range(shards):
        own = numbers[shard::shards]
        only = sorted(query) if shard % 2 else None  # reads the postings of the query alone
        parts.append(KeywordIndex.read([(own, stored.take(pa.array(own)))], only, weights))
    statistics = sum((part.statistics(list(query)) for part in parts[1:]), parts[0].statistics(list(query)))
    found, _ = KeywordHits.best([part.search(query, statistics, 9) for part in parts], 9)
    boosts = {n: float(np.float32(max(1, len(head)) ** -brevity)) for n, (head, _) in enumerate(documents)}
    check(found, repeated, query, 9, boosts, k1=k1, b=b)


@settings(deadline=None)
@given(documents=st.lists(st.none() | WORDS, max_size=30), query=QUERY, cut=st.integers(0, 30))
def test_postings_of_the_words_of_a_query_alone_give_the_same_hits(documents, query, cut):
    order = np.random.default_rng(0).permutation(len(documents))
    parts = [(rows.astype(np.int64), column(documents[n] for n in rows)) for rows in (order[:cut], order[cut:])]
    whole, few = KeywordIndex.read(parts), KeywordIndex.read(parts, sorted(query))
    found = [index.search(query, index.statistics(list(query)), 7) for index in (whole, few)]
    assert found[0].numbers.tolist() == found[1].numbers.tolist()
    assert found[0].scores.tolist() == found[1].scores.tolist()
    assert few.statistics(["a"]).words == whole.statistics(["a"]).words


def test_more_documents_than_a_window_of_the_kernel_and_many_ties():
    documents = [["x"] if n % 3 else ["x", "y"] for n in range(10_000)]
    index = KeywordIndex.read([(np.arange(10_000), column(documents))])
    found = index.search({"x": 1}, index.statistics(["x"]), 500)
    assert found.numbers.tolist() == [n for n in range(10_000) if n % 3][:500], "ties by number"
    allowed = Selection(5_000, np.ones(5_000, np.bool_))
    found = index.search({"x": 1, "y": 1}, index.statistics(["x", "y"]), 3, allowed)
    assert found.numbers.tolist() == [5001, 5004, 5007], "of those that are allowed"


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), documents=st.integers(1, 40_000), terms=st.integers(0, 6), k=st.integers(1, 40))
def test_the_kernel_gives_what_numpy_gives(seed, documents, terms, k):
    rng = np.random.default_rng(seed)
    found = [np.flatnonzero(rng.random(documents) < rng.choice([0.001, 0.05, 0.6])) for _ in range(terms)]
    bounds = np.cumsum([0, *map(len, found)])
    rows = np.concatenate([np.empty(0, np.int64), *found]).astype(np.int32)
    counts = rng.integers(1, 4, len(rows)).astype(np.uint16)
    lengths, weights = rng.integers(0, 4, documents).astype(np.int32), rng.integers(1, 3, terms).astype(np.float64)
    boosts = rng.choice([0.5, 0.7, 1], documents).astype(np.float32) if seed % 5 else np.ones(documents, np.float32)
    norm = LengthNorm(2.0, 1.5, 0.5)
    factors = 1.5 * (1 - 0.5 + 0.5 * lengths / 2.0)
    allowed = rng.random(documents) < 0.5 if seed % 2 else np.empty(0, np.bool_)
    largest = [
        np.max(weights[term] * own / (own + factors[where]), initial=0.0)
        for term, (own, where) in enumerate(zip(np.split(counts.astype(float), bounds[1:-1]), found, strict=False))
    ]
    limits = np.asarray(largest[:terms], np.float64)
    load_kernel()
    postings = Postings.of(norm, rows, counts, lengths, boosts)
    given_ = (bounds[:-1], bounds[1:], weights, limits, np.argsort(limits), postings, allowed, k)
    plain = plain_top(*given_, 0.0)
    # A score that k documents exceed changes nothing.
    floor = np.nextafter(plain[0].min(), 0) if len(plain[0]) == k and seed % 3 else 0.0
    found = [plain, top_documents(0)(*given_, floor)]
    ordered = [np.lexsort((rows, -scores)) for scores, rows in found]
    assert found[0][0][ordered[0]].tolist() == found[1][0][ordered[1]].tolist()
    assert found[0][1][ordered[0]].tolist() == found[1][1][ordered[1]].tolist()


def test_the_kernel_is_loaded_once_searches_by_numpy_have_taken_as_long():
    program = """
import numpy as np, pyarrow as pa
from texthash.index.keywords import top
from texthash.index.keywords.postings import KeywordIndex
top._WORTH = 25
index = KeywordIndex.read([(np.arange(10), pa.array([["sort", "list"], ["sort"]] * 5, pa.list_(pa.string())))])
query = {"sort": 1, "list": 1}
found = []
for _ in range(4):
    hits = index.search(query, index.statistics(list(query)), 3)
    found.append((hits.numbers.tolist(), hits.scores.tolist(), bool(top._kernels)))
assert [loaded for *_, loaded in found] == [False, False, True, True], found
assert len({str(own[:2]) for own in found}) == 1, found
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_scores_equal_those_of_bm25s():
    bm25s = pytest.importorskip("bm25s")
    rng = np.random.default_rng(0)
    vocabulary = [f"w{n}" for n in range(300)]
    documents = [rng.choice(vocabulary, rng.integers(3, 40)).tolist() for _ in range(500)]
    reference = bm25s.BM25(method="lucene", k1=1.2, b=0.75, dtype="float64")
    reference.index(documents, show_progress=False)
    index = KeywordIndex.read([(np.arange(500), column(documents))])
    for query in (["w1", "w2", "w3"], ["w7"], ["w10", "w20", "w30", "w40", "w50"]):
        counts = dict(sorted(Counter(query).items()))
        found = index.search(counts, index.statistics(list(counts)), 500)
        scores = reference.get_scores(query)
        assert found.scores == pytest.approx(scores[found.numbers], rel=1e-6)
        assert len(found.numbers) == np.count_nonzero(scores)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Read a CSV file", ["read", "csv", "file"]),
        ("read_csv", ["read_csv", "read", "csv"]),
        ("TextFileReader", ["textfileread", "text", "file", "reader"]),
        ("HTTPServer2 sleep()", ["httpserver2", "http", "server", "sleep"]),
        ("__init__", ["init"]),
        ("naïve Straße", ["naïve", "straße"]),
        ("東京都 is in 日本", ["東京", "京都", "日本"]),
        ("", []),
        ("the of and", []),
        ("x" * 200, []),
    ],
)
def test_words_of_a_text(text, terms):
    assert KeywordAnalyzer("english").terms(text) == terms


@pytest.mark.parametrize(
    ("query", "text", "pieces"),
    [
        ("read files", "Reads a file, reading FILES", ["Reads", "file", "reading", "FILES"]),
        ("read_csv", "read_csv, to_csv and CsvReader", ["read_csv", "csv", "Csv"]),
        ("text file", "TextFileReader of textfiles", ["Text", "File"]),
        ("textfilereader", "TextFileReader", ["TextFileReader"]),
        ("the csv of it", "the file of it", []),
        ("東京", "東京都 and tokyo", ["東京"]),
        ("Straße", "die STRASSE, die Straße", ["Straße"]),
        ("", "anything", []),
    ],
)
def test_the_pieces_of_a_text_that_a_query_shares_are_those_that_it_is_found_by(query, text, pieces):
    analyzer = KeywordAnalyzer("english")
    assert analyzer.matches(text, analyzer.query(query)) == pieces


@given(st.text(alphabet="aB_c1 é東京-\n", max_size=20), st.text(alphabet="aB_c1 é東京-\n", max_size=60))
def test_a_text_has_matching_pieces_exactly_if_it_shares_a_word_with_the_query(query, text):
    analyzer = KeywordAnalyzer("english")
    pieces = analyzer.matches(text, analyzer.query(query))
    assert bool(pieces) == bool(set(analyzer.terms(text)) & analyzer.query(query).keys())
    assert all(piece in text for piece in pieces)


def test_plain_words_keep_their_form():
    assert KeywordAnalyzer("plain").terms("Die Häuser und the files") == ["die", "häuser", "und", "the", "files"]


@given(st.lists(st.text(alphabet="aB_c1 é東京-\n", max_size=30), max_size=8))
def test_a_column_has_the_words_of_each_text(texts):
    analyzer = KeywordAnalyzer("english")
    assert analyzer.column(texts).to_pylist() == [analyzer.terms(text) for text in texts]
