"""From text to words (:class:`Analyzer`) and from words to numbers (:class:`Vocabulary`)."""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from texthash.config import Edition
from texthash.errors import CorpusError, UsageError

_STOP = -1
_RUNS_OF_WORD_CHARACTERS = Edition.model_fields["token_pattern"].default


@dataclass(frozen=True)
class Analyzer:
    """Cuts a text into words, in the same order of steps as scikit-learn's vectorizers.

    Args:
        lowercase: Fold to lower case first.
        token_pattern: Regular expression of a word; with one group, the group is the word.
        stop_words: ``"english"`` leaves out scikit-learn's list of English function words.
        stemmer: ``"porter"`` reduces each word to its stem, after stop words are gone.
    """

    lowercase: bool = True
    token_pattern: str = r"(?u)\b\w\w+\b"
    stop_words: Literal["english"] | None = "english"
    stemmer: Literal["porter"] | None = None

    @classmethod
    def from_edition(cls, edition: Edition) -> Analyzer:
        return cls(edition.lowercase, edition.token_pattern, edition.stop_words, edition.stemmer)

    def tokens(self, text: str) -> list[str]:
        """The words of ``text`` in order."""
        words = self._words(text)
        if self._stop_set:
            words = [word for word in words if word not in self._stop_set]
        return [self._stem(word) for word in words] if self._stem else words

    def intern(self, texts: Iterable[str]) -> tuple[NDArray[np.int64], NDArray[np.int32], list[str]]:
        """The words of many texts, numbered in order of first appearance.

        Several times faster than :meth:`tokens` on each: stop words and stems are looked up once per distinct word.

        Returns:
            ``indptr`` int64 [texts + 1], ``ids`` int32 [words in all], and the distinct words that ids number.
        """
        numbering = _Numbering(self._stop_set, self._stem)
        number, words = numbering.__getitem__, self._words
        plain = self.token_pattern == _RUNS_OF_WORD_CHARACTERS
        table = _word_bytes(self.lowercase)
        ids = array("i")
        indptr = [0]
        for text in texts:
            if plain and text.isascii():
                # Such a word is a run of letters, digits and _: cutting bytes at all else takes a third of the time.
                ids.extend(map(number, text.encode().translate(table).split()))
            else:
                ids.extend(map(number, words(text)))
            indptr.append(len(ids))
        flat = np.frombuffer(ids, np.int32) if ids else np.empty(0, np.int32)
        kept = flat != _STOP
        before = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
        return before[np.asarray(indptr, np.int64)], flat[kept], list(numbering.terms)

    @cached_property
    def _words(self) -> Callable[[str], list[str]]:
        try:
            pattern = re.compile(self.token_pattern)
        except re.error as error:
            raise UsageError(
                f"token_pattern={self.token_pattern!r} is not a regular expression: {error}",
                "correct corpus.edition.token_pattern.",
            ) from error
        if pattern.groups > 1:
            raise UsageError(
                f"token_pattern={self.token_pattern!r} has {pattern.groups} groups.",
                "use at most one capturing group, the word itself.",
            )
        find = pattern.findall
        return (lambda text: find(text.lower())) if self.lowercase else find

    @cached_property
    def _stop_set(self) -> frozenset[str]:
        if self.stop_words is None:
            return frozenset()
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        return frozenset(ENGLISH_STOP_WORDS)

    @cached_property
    def _stem(self) -> Callable[[str], str] | None:
        if self.stemmer is None:
            return None
        from nltk.stem.porter import PorterStemmer

        stem = PorterStemmer().stem
        return lambda word: str(stem(word, to_lowercase=self.lowercase))

    def __getstate__(self) -> dict[str, object]:
        """Only the settings travel to another process; what they compile to is made there."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def _word_bytes(lowercase: bool) -> bytes:
    """Translation of ASCII that leaves word characters, folded if asked, and makes all others blanks."""
    kept = (chr(code) if chr(code).isalnum() or chr(code) == "_" else " " for code in range(128))
    return "".join(c.lower() if lowercase else c for c in kept).encode().ljust(256)


class _Numbering(dict[str | bytes, int]):
    """Raw word -> number of its term; a word seen for the first time is stemmed and numbered by ``__missing__``.

    A word that comes as bytes is any run of word characters; those of one character are no words.
    """

    def __init__(self, stop: frozenset[str], stem: Callable[[str], str] | None) -> None:
        super().__init__()
        self.terms: dict[str, int] = {}
        self._stop, self._stem = stop, stem

    def __missing__(self, key: str | bytes) -> int:
        word = key if isinstance(key, str) else key.decode()
        if word in self._stop or (isinstance(key, bytes) and len(key) < 2):
            number = _STOP
        else:
            term = self._stem(word) if self._stem else word
            number = self.terms.setdefault(term, len(self.terms))
        self[key] = number
        return number


class Vocabulary:
    """The words that a corpus' codes are learned from, with their statistics over the training documents.

    Args:
        terms: The words, in the order that numbers them (alphabetical).
        document_frequency: Number of training documents that hold each word.
        documents: Number of training documents.
        occurrences: Number of vocabulary words in all training documents; the mean length that BM25 needs follows
            from it.
    """

    def __init__(
        self, terms: Sequence[str], document_frequency: Sequence[int] | NDArray, documents: int, occurrences: int = 0
    ) -> None:
        self.terms = list(terms)
        self.document_frequency = np.asarray(document_frequency, dtype=np.int64)
        self.documents = int(documents)
        self.occurrences = int(occurrences)
        if len(self.terms) != len(self.document_frequency):
            raise CorpusError(
                f"a vocabulary of {len(self.terms)} terms has {len(self.document_frequency)} document frequencies.",
                "give one per term.",
            )

    def __len__(self) -> int:
        return len(self.terms)

    @cached_property
    def index(self) -> dict[str, int]:
        """Word -> number."""
        return {term: number for number, term in enumerate(self.terms)}

    @cached_property
    def idf(self) -> NDArray[np.float64]:
        """Smoothed inverse document frequency, ``ln((1 + n) / (1 + df)) + 1``, as scikit-learn defines it."""
        return np.log((1.0 + self.documents) / (1.0 + self.document_frequency)) + 1.0

    @property
    def average_length(self) -> float:
        """Mean number of vocabulary words in a training document."""
        return self.occurrences / max(1, self.documents)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of terms and statistics; codes of models with different hashes are not comparable."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def sequence(self, tokens: Iterable[str]) -> NDArray[np.int32]:
        """Numbers of the known words, in order; unknown words are left out."""
        index = self.index
        return np.asarray([index[token] for token in tokens if token in index], dtype=np.int32)

    def counts(self, tokens: Iterable[str]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Sorted numbers of the known words and how often each occurs."""
        ids, counts = np.unique(self.sequence(tokens), return_counts=True)
        return ids.astype(np.int32), counts.astype(np.int32)

    def to_json(self) -> str:
        return json.dumps(
            {
                "documents": self.documents,
                "occurrences": self.occurrences,
                "terms": self.terms,
                "document_frequency": self.document_frequency.tolist(),
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """Raises :class:`CorpusError` when ``text`` is not what :meth:`to_json` writes."""
        try:
            stored = json.loads(text)
            return cls(stored["terms"], stored["document_frequency"], stored["documents"], stored["occurrences"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"a stored vocabulary cannot be read: {error!r}", "prepare the corpus again.") from error
