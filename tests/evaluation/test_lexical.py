"""Keyword search against its formulas, bm25s and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from texthash.config import Edition
from texthash.corpora.words import Analyzer
from texthash.errors import UsageError
from texthash.evaluation.baselines.lexical import Lexical

PLAIN = Analyzer.from_edition(Edition(stop_words=None))
TEXTS = ["sort an array of numbers", "sort sort names", "open the file", "the file of numbers and numbers", ""]


@pytest.fixture(scope="module")
def random_texts():
    rng = np.random.default_rng(0)
    words = [f"w{number:02d}" for number in range(40)]
    texts = [" ".join(rng.choice(words, rng.integers(1, 30))) for _ in range(200)]
    return texts[:180], texts[180:]


def scores(found, size):
    out = np.zeros(size)
    out[found.documents] = found.scores
    return out


def test_bm25_is_the_formula_of_its_words():
    (found,) = Lexical(TEXTS, PLAIN).bm25(["numbers of numbers unknown"], k1=1.5, b=0.5)
    lengths = [5, 3, 3, 6, 0]
    expected = []
    for number, text in enumerate(TEXTS):
        total = 0.0
        for word, times in (("numbers", 2), ("of", 1)):
            tf, df = text.split().count(word), 2
            pivot = 1.5 * (1 - 0.5 + 0.5 * lengths[number] / np.mean(lengths))
            total += times * math.log(1 + (5 - df + 0.5) / (df + 0.5)) * tf / (tf + pivot)
        expected.append(total)
    assert found.documents.tolist() == [0, 3]  # documents without a word of the query are not listed
    assert scores(found, 5) == pytest.approx(expected)


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.9, 0.4)])
def test_bm25_is_that_of_bm25s(random_texts, k1, b):
    bm25s = pytest.importorskip("bm25s")
    documents, queries = random_texts
    theirs = bm25s.BM25(method="lucene", k1=k1, b=b)
    theirs.index([text.split() for text in documents], show_progress=False)
    for query, found in zip(queries, Lexical(documents, PLAIN).bm25(queries, k1, b), strict=True):
        assert scores(found, 180) == pytest.approx(theirs.get_scores(query.split()), rel=1e-4, abs=1e-5)


def test_cosine_is_that_of_scikit_learn(random_texts):
    documents, queries = random_texts
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    theirs = (vectorizer.fit_transform(documents) @ vectorizer.transform(queries).T).toarray().T
    for expected, found in zip(theirs, Lexical(documents, PLAIN).cosine(queries), strict=True):
        assert scores(found, 180) == pytest.approx(expected)


def test_words_are_stemmed_unless_said_otherwise_and_a_query_without_a_known_word_lists_nothing():
    lexical = Lexical(TEXTS)
    listed = [found.documents.tolist() for found in lexical.bm25(["number sorting", "the of", "unknown", ""])]
    assert listed == [[0, 1, 3], [], [], []]
    assert len(next(Lexical([], PLAIN).bm25(["sort"])).documents) == 0
    with pytest.raises(UsageError, match="b=2"):
        list(lexical.bm25(["sort"], b=2))
