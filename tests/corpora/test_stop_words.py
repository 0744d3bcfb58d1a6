"""The list of English function words."""

from __future__ import annotations

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from texthash.corpora.stop_words import ENGLISH


def test_they_are_those_of_scikit_learn() -> None:
    assert ENGLISH == ENGLISH_STOP_WORDS
