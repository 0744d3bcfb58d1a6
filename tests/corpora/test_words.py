"""Words, vocabulary and weights against scikit-learn on the same text."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from texthash.config import Edition, Weighting
from texthash.corpora.document import Document
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.weighting import weigh
from texthash.corpora.words import Analyzer, Vocabulary
from texthash.errors import CorpusError, UsageError

ASCII = st.text(st.characters(max_codepoint=127), max_size=40)
TEXTS = st.lists(ASCII | st.text(st.sampled_from("aBc ÄßΣİ'_-\n1é—漢²𝐀😀"), max_size=40), max_size=8)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("stop_words", ["english", None])
def test_words_are_those_of_scikit_learn(
    small_documents: list[Document], lowercase: bool, stop_words: str | None
) -> None:
    theirs = CountVectorizer(lowercase=lowercase, stop_words=stop_words).build_analyzer()
    ours = Analyzer.from_edition(Edition(lowercase=lowercase, stop_words=stop_words))
    for document in small_documents[::50]:
        assert ours.tokens(document.text) == theirs(document.text)


@given(
    TEXTS,
    st.booleans(),
    st.sampled_from([None, "porter"]),
    st.sampled_from([r"(?u)\b\w\w+\b", r"\w+", r"(\w)-"]),
    st.booleans(),
)
def test_interned_words_are_the_tokens(
    texts: list[str], lowercase: bool, stemmer: Literal["porter"] | None, pattern: str, parts: bool
) -> None:
    analyzer = Analyzer(lowercase=lowercase, stemmer=stemmer, token_pattern=pattern, identifier_parts=parts)
    indptr, ids, terms = analyzer.intern(texts)
    assert terms.to_pylist() == sorted(set(terms.to_pylist()))
    words = [[terms[i].as_py() for i in ids[a:b]] for a, b in pairwise(indptr)]
    assert words == [analyzer.tokens(text) for text in texts]


def test_long_texts_are_cut_like_short_ones() -> None:
    """They are cut some at a time: no word is joined, lost or counted to another text where one run ends."""
    texts = ["alpha beta " * 25_000, "gamma", "", "delta" * 60_000, "é epsilon", "alpha " * 50_000, "a", "zeta"]
    analyzer = Analyzer(stop_words=None)
    indptr, ids, terms = analyzer.intern(texts)
    names = np.array(terms.to_pylist(), object)
    assert [names[ids[a:b]].tolist() for a, b in pairwise(indptr)] == [analyzer.tokens(text) for text in texts]


def test_parts_of_identifiers_are_words_beside_the_whole() -> None:
    text = "pandas.read_csv gives a TextFileReader; __init__, HTTPServer2 and the_x"
    words = "pandas read_csv read csv gives textfilereader text file reader init httpserver2 http server the_x"
    assert " ".join(Analyzer(identifier_parts=True).tokens(text)) == words
    assert Analyzer(identifier_parts=True, lowercase=False).tokens("TextFile") == ["TextFile", "Text", "File"]
    assert Analyzer(identifier_parts=True, stemmer="porter").tokens("sortedFiles") == ["sortedfil", "sort", "file"]
    assert Analyzer().tokens("read_csv") == ["read_csv"]


def test_an_edition_without_parts_is_recorded_as_before_there_were_any() -> None:
    assert "identifier_parts" not in Edition().model_dump(mode="json")
    assert Edition(identifier_parts=True).model_dump()["identifier_parts"] is True
    assert Edition.model_validate(Edition(identifier_parts=True).model_dump()).identifier_parts


def test_stems_come_after_stop_words() -> None:
    assert Analyzer(stemmer="porter").tokens("The running dogs were relational") == ["run", "dog", "relat"]


@pytest.mark.parametrize("pattern", ["(a)(b)", "(a"])
def test_a_wrong_pattern_is_named(pattern: str) -> None:
    with pytest.raises(UsageError, match="token_pattern"):
        Analyzer(token_pattern=pattern).tokens("abc")


def test_vocabulary_survives_json_and_its_hash_tells_differences_apart(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["ab", "é"], [2, 1], documents=3, occurrences=9)
    (tmp_path / "vocabulary.json").write_text(vocabulary.to_json(), encoding="utf-8")
    again = Vocabulary.read(tmp_path / "vocabulary.json", "restore it.")
    assert (again.terms, again.hash, again.average_length) == (["ab", "é"], vocabulary.hash, 3.0)
    assert Vocabulary(["ab", "é"], [2, 2], documents=3, occurrences=9).hash != vocabulary.hash
    (tmp_path / "vocabulary.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"vocabulary\.json is broken: .*\n.*restore it"):
        Vocabulary.read(tmp_path / "vocabulary.json", "restore it.")


def test_unknown_words_are_left_out() -> None:
    vocabulary = Vocabulary(["ab", "cd"], [1, 1], documents=2)
    assert vocabulary.sequence(["cd", "zz", "ab", "cd"]).tolist() == [1, 0, 1]
    ids, counts = vocabulary.counts(["cd", "zz", "ab", "cd"])
    assert (ids.tolist(), counts.tolist()) == ([0, 1], [1, 2])


@pytest.mark.parametrize(
    ("kind", "options"),
    [("tfidf", {}), ("sublinear_tfidf", {"sublinear_tf": True}), ("binary_tfidf", {"binary": True})],
)
def test_tfidf_is_that_of_scikit_learn(small_corpus: PreparedCorpus, kind: Weighting, options: dict[str, bool]) -> None:
    train, validation = (
        [text for table in split.documents() for text in table["text"].to_pylist()]
        for split in (small_corpus.train, small_corpus.validation)
    )
    # Given, since with binary=True scikit-learn would choose the words by their document frequency.
    terms = small_corpus.vocabulary.terms
    assert TfidfVectorizer(stop_words="english", max_features=2000).fit(train).get_feature_names_out().tolist() == terms
    theirs = TfidfVectorizer(stop_words="english", vocabulary=terms, **options).fit(train)
    assert abs(theirs.transform(train) - small_corpus.train.matrix(kind)).max() < 1e-6
    assert abs(theirs.transform(validation) - small_corpus.validation.matrix(kind)).max() < 1e-6


def test_bm25_follows_its_formula() -> None:
    vocabulary = Vocabulary(["a", "b"], [1, 3], documents=4, occurrences=12)
    indptr, indices, counts = np.array([0, 2, 2, 3]), np.array([0, 1, 1]), np.array([2, 1, 3])
    idf = np.log(1 + (4 - np.array([1, 3]) + 0.5) / (np.array([1, 3]) + 0.5))
    expected = [idf[0] * 2 * 2.2 / (2 + 1.2), idf[1] * 2.2 / (1 + 1.2), idf[1] * 3 * 2.2 / (3 + 1.2)]
    assert weigh(indptr, indices, counts, "bm25", vocabulary) == pytest.approx(expected, rel=1e-6)
    length = math.hypot(*expected[:2])
    at_unit_length = [expected[0] / length, expected[1] / length, 1]
    assert weigh(indptr, indices, counts, "unit_bm25", vocabulary) == pytest.approx(at_unit_length, rel=1e-6)
    assert weigh(indptr, indices, counts, "binary", vocabulary).tolist() == [1, 1, 1]
    assert weigh(indptr, indices, counts, "counts", vocabulary).tolist() == [2, 1, 3]


def test_bm25_without_lengths_and_unknown_weightings_are_errors() -> None:
    vocabulary = Vocabulary(["a"], [1], documents=1)
    with pytest.raises(CorpusError, match="mean document length"):
        weigh(np.array([0, 1]), np.array([0]), np.array([1]), "bm25", vocabulary)
    with pytest.raises(UsageError, match="idf2"):
        weigh(np.array([0, 1]), np.array([0]), np.array([1]), "idf2", vocabulary)  # type: ignore[arg-type]
