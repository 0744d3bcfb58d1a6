"""Analysis of text for keyword search: words are folded to lower case, identifiers also cut into their parts.

``read_csv`` gives ``read_csv``, ``read`` and ``csv``, and ``TextFileReader`` gives ``textfilereader``, ``text``,
``file`` and ``reader``, so that a name is found by itself and by its parts. Runs of Chinese, Japanese and Korean
characters, which are written without spaces, are cut into overlapping pairs. ``english`` also leaves out function words
and reduces words to their stems (Porter, 1980).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
import pyarrow as pa

from texthash.config import KeywordAnalysis
from texthash.corpora.identifiers import parts_of
from texthash.corpora.stop_words import ENGLISH
from texthash.corpora.text import Analyzer
from texthash.io.ragged import take_rows

_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
_LONGEST = 100
"""Characters of a word, beyond which it is data in the text rather than a word."""


class KeywordAnalyzer:
    """Words of documents and queries.

    Args:
        analysis: ``english``: without function words, reduced to stems; ``plain``: words as they are, for texts in
            other languages.

    >>> KeywordAnalyzer("english").terms("Reading files with read_csv")
    ['read', 'file', 'read_csv', 'read', 'csv']
    """

    def __init__(self, analysis: KeywordAnalysis = "english") -> None:
        self.analysis = analysis
        self._words = Analyzer(lowercase=False, stop_words=None, stemmer=None)
        self._terms: dict[str, list[str]] = {}

    def terms(self, text: str) -> list[str]:
        """Return the words of a text, in order."""
        return [term for word in self._words.tokens(text) for term in self._terms_of(word)]

    def query(self, text: str) -> dict[str, int]:
        """Return the distinct words of a query, in alphabetical order, each with its number of occurrences."""
        return dict(sorted(Counter(self.terms(text)).items()))

    def column(self, texts: Sequence[str]) -> pa.ListArray:
        """Return the words of many texts as a list<string> column; analyses each distinct word once."""
        indptr, ids, distinct = self._words.intern(texts)
        terms = [self._terms_of(word) for word in distinct.to_pylist()]
        starts = np.concatenate([[0], np.cumsum([len(own) for own in terms])]).astype(np.int64)
        flat = pa.array([term for own in terms for term in own], pa.string())
        of_tokens, positions = take_rows(starts, ids.astype(np.int64))
        offsets = of_tokens[indptr]
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat.take(pa.array(positions)))

    def _terms_of(self, word: str) -> list[str]:
        known = self._terms.get(word)
        if known is None:
            known = _terms(word, self.analysis == "english")
            if len(self._terms) > 1_000_000:  # a long-lived process does not keep every word it has ever met
                self._terms.clear()
            self._terms[word] = known
        return known


@cache
def keyword_analyzer(analysis: KeywordAnalysis) -> KeywordAnalyzer:
    """Return the analyzer of a kind, which remembers the words that it has analysed in this process."""
    return KeywordAnalyzer(analysis)


def document_text(title: str | None, text: str | None) -> str:
    """Return the text of a document whose words are searched: its title and its text."""
    return f"{title or ''}\n{text or ''}"


def _terms(word: str, english: bool) -> list[str]:
    if len(word) > _LONGEST:
        return []
    if not word.isascii() and _UNSPACED.search(word):
        return [term for part in _divided(word) for term in part]
    parts = parts_of(word)
    terms = [word.lower()] if len(parts) > 1 else []
    for part in parts:
        lower = part.lower()
        if len(lower) > 1 and not (english and lower in ENGLISH):
            terms.append(_stem(lower) if english and lower.isascii() else lower)
    return terms


def _divided(word: str) -> list[list[str]]:
    """Return the terms of a word with characters of languages without spaces: pairs of these, and the rest as it is."""
    pieces: list[list[str]] = []
    end = 0
    for run in _UNSPACED.finditer(word):
        if rest := word[end : run.start()]:
            pieces.append([rest.lower()])
        found = run.group()
        pieces.append([found[at : at + 2] for at in range(max(1, len(found) - 1))])
        end = run.end()
    if rest := word[end:]:
        pieces.append([rest.lower()])
    return pieces


@cache
def _stemmer():  # type: ignore[no-untyped-def]
    from nltk.stem.porter import PorterStemmer  # slow to import

    return PorterStemmer()


def _stem(word: str) -> str:
    return str(_stemmer().stem(word, to_lowercase=False))
