"""Analysis of text for keyword search: words are folded to lower case, identifiers also cut into their parts.

``read_csv`` gives ``read_csv``, ``read`` and ``csv``, and ``DataFrame`` gives ``dataframe``, ``data`` and ``frame``, so
that a name is found by itself and by its parts. Runs of Chinese, Japanese and Korean characters, which are written
without spaces, are cut into overlapping pairs. ``english`` also leaves out function words and reduces words to their
stems (Porter, 1980).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Sequence
from functools import cache

import numpy as np
import pyarrow as pa

from texthash.config import KeywordAnalysis
from texthash.corpora.identifiers import parts_of
from texthash.corpora.porter import porter_stemmer
from texthash.corpora.stop_words import ENGLISH
from texthash.corpora.words import Analyzer
from texthash.index.keywords.weights import SEPARATOR
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

    def matches(self, text: str, terms: Container[str]) -> list[str]:
        """Return the distinct pieces of a text, as they are written there, that are among some words, in order.

        A piece is a whole word or a part of an identifier, or a pair of characters where there are no spaces.

        Args:
            text: Title or text of a document.
            terms: Words of a query: :meth:`query`.

        >>> analyzer = KeywordAnalyzer("english")
        >>> analyzer.matches("Reads with read_csv or TextFileReader", analyzer.query("read files"))
        ['Reads', 'read', 'File']
        """
        found: dict[str, None] = {}
        for word in dict.fromkeys(self._words.tokens(text)):
            if any(term in terms for term in self._terms_of(word)):
                pieces = [piece for piece, term in _pieces(word, self.analysis == "english") if term in terms]
                found |= dict.fromkeys([word] if word in pieces else pieces)
        return list(found)

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

    def documents(self, titles: Sequence[str | None], texts: Sequence[str | None]) -> pa.ListArray:
        """Return the words of documents in the form that has weights: those of the title, an empty word, and the text.

        A text that begins with its title is taken without it.

        >>> KeywordAnalyzer("english").documents(["A csv", None], ["Read a file.", "Sort"]).to_pylist()
        [['csv', '', 'read', 'file'], ['', 'sort']]
        """
        own = [title or "" for title in titles]
        rest = [
            (text or "").removeprefix(f"{title}\n" if title else "") for title, text in zip(own, texts, strict=True)
        ]
        parts = self.column(own), self.column(rest)
        counts = [part.value_lengths().to_numpy() for part in parts]
        every = np.arange(len(own))
        # Stable: of each document first the words of the title, then the separator, then those of the text.
        order = np.concatenate([np.repeat(every, counts[0]), every, np.repeat(every, counts[1])]).argsort(kind="stable")
        separators = pa.array([SEPARATOR] * len(own), pa.string())
        flat = pa.concat_arrays([parts[0].flatten(), separators, parts[1].flatten()]).take(pa.array(order))
        offsets = np.concatenate([[0], np.cumsum(counts[0] + 1 + counts[1])])
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)

    def _terms_of(self, word: str) -> list[str]:
        known = self._terms.get(word)
        if known is None:
            known = [term for _, term in _pieces(word, self.analysis == "english")]
            if len(self._terms) > 1_000_000:  # a long-lived process does not keep every word it has ever met
                self._terms.clear()
            self._terms[word] = known
        return known


@cache
def keyword_analyzer(analysis: KeywordAnalysis) -> KeywordAnalyzer:
    """Return the analyzer of a kind, which remembers the words that it has analysed in this process."""
    return KeywordAnalyzer(analysis)


def document_text(title: str | None, text: str | None) -> str:
    """Return the text of a document whose words are searched: its title, and its text."""
    return f"{title or ''}\n{text or ''}"


def repeated_text(title: str | None, text: str | None) -> str:
    """Return the text whose words indexes before format 7 store: the title three times, and the text."""
    return f"{title or ''}\n" * 3 + (text or "")


def _pieces(word: str, english: bool) -> list[tuple[str, str]]:
    """Return the pieces of a word, each as it is written and as the term that it counts as."""
    if len(word) > _LONGEST:
        return []
    if not word.isascii() and _UNSPACED.search(word):
        return _divided(word)
    parts = parts_of(word)
    # The whole of DataFrame counts as the word dataframe does, which has no parts.
    pieces = [(word, _term(word, english))] if len(parts) > 1 else []
    pieces += [
        (part, _term(part, english)) for part in parts if len(part) > 1 and not (english and part.lower() in ENGLISH)
    ]
    return pieces


def _term(piece: str, english: bool) -> str:
    lower = piece.lower()
    return _stem(lower) if english and lower.isascii() and lower.isalpha() else lower


def _divided(word: str) -> list[tuple[str, str]]:
    """Return the pieces of a word of a language without spaces: pairs of its characters, and the rest as it is."""
    pieces: list[str] = []
    end = 0
    for run in _UNSPACED.finditer(word):
        found = run.group()
        pieces += [word[end : run.start()], *(found[at : at + 2] for at in range(max(1, len(found) - 1)))]
        end = run.end()
    return [(piece, piece.lower()) for piece in (*pieces, word[end:]) if piece]


def _stem(word: str) -> str:
    return str(porter_stemmer().stem(word, to_lowercase=False))
