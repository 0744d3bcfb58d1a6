"""Tokenisation of text (:class:`Analyzer`) and numbering of words (:class:`Vocabulary`)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from texthash.config import Edition
from texthash.config.pattern_time import USUAL, UnboundedPatternError, check_time
from texthash.corpora.identifiers import with_parts
from texthash.corpora.porter import porter_stemmer
from texthash.corpora.stop_words import ENGLISH
from texthash.errors import CorpusError, TexthashError, UsageError
from texthash.io.ragged import filtered, indptr_of, take_rows
from texthash.io.records import read_typed

_STOP = -1
_BLANK = ord(" ")
_PIECE_CHARACTERS = 250_000
_STEMS_KEPT = 65_536


@dataclass(frozen=True)
class Analyzer:
    """Tokeniser of text, with the same order of steps as scikit-learn's vectorizers.

    Args:
        lowercase: Whether text is first folded to lower case.
        token_pattern: Regular expression of a word; with one group, the group is the word.
        stop_words: ``"english"`` removes scikit-learn's list of English function words.
        stemmer: ``"porter"`` reduces each word to its stem, after stop words are removed.
        identifier_parts: Whether a word is followed by its parts (:mod:`~texthash.corpora.identifiers`), which are
            cut before anything is folded to lower case.
    """

    lowercase: bool = True
    token_pattern: str = USUAL
    stop_words: Literal["english"] | None = "english"
    stemmer: Literal["porter"] | None = None
    identifier_parts: bool = False

    @classmethod
    def from_edition(cls, edition: Edition) -> Analyzer:
        return cls(
            edition.lowercase, edition.token_pattern, edition.stop_words, edition.stemmer, edition.identifier_parts
        )

    def tokens(self, text: str) -> list[str]:
        """Return the words of a text in order."""
        words = self.words(text)
        if self.identifier_parts:
            words = list(chain.from_iterable(map(self._parts, words)))
        if self._stop_set:
            words = [word for word in words if word not in self._stop_set]
        return [self._stem(word) for word in words] if self._stem else words

    def intern(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int32], pa.StringArray]:
        """Return the words of many texts as numbers of their distinct words in alphabetical order.

        This is many times faster than :meth:`tokens` on each: texts are tokenised as one array of bytes, stop words and
        stems are looked up once per distinct word.

        Returns:
            ``indptr`` int64 [texts + 1], ``ids`` int32 [total words], and the distinct words that ``ids`` numbers.
        """
        indptr, words = self._cut(texts)
        encoded = words.dictionary_encode()
        if self.identifier_parts:
            indptr, encoded = self._with_parts(indptr, encoded)
        raw = encoded.dictionary
        kept = pc.greater_equal(pc.utf8_length(raw), 2) if self._is_plain else pc.is_valid(raw)
        if self._stop_set:
            kept = pc.and_not(kept, pc.is_in(raw, pa.array(sorted(self._stop_set), pa.string())))
        terms = found = raw.filter(kept)
        if self._stem:
            terms = pa.array([self._stem(word) for word in found.to_pylist()], pa.string())
        distinct = terms.unique()
        distinct = distinct.take(pc.sort_indices(distinct))
        numbers = np.full(len(raw), _STOP, np.int32)
        numbers[kept.to_numpy(zero_copy_only=False)] = pc.index_in(terms, distinct).to_numpy()
        ids = numbers[encoded.indices.to_numpy()]
        known = ids != _STOP
        return filtered(indptr, known), ids[known], distinct

    @property
    def _is_plain(self) -> bool:
        return self.token_pattern == USUAL

    def _with_parts(
        self, indptr: NDArray[np.int64], encoded: pa.DictionaryArray
    ) -> tuple[NDArray[np.int64], pa.DictionaryArray]:
        """Follow each word by its parts; each distinct word is cut once."""
        parts = [self._parts(word) for word in encoded.dictionary.to_pylist()]
        starts, flat = indptr_of([len(own) for own in parts]), pa.array(chain.from_iterable(parts), pa.string())
        of_words, positions = take_rows(starts, encoded.indices.to_numpy().astype(np.int64))
        distinct = flat.dictionary_encode()
        numbers = distinct.indices.to_numpy()[positions]
        return of_words[indptr], pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), distinct.dictionary)

    def _parts(self, word: str) -> list[str]:
        """Return what a word gives; nothing if it is one character, which the plain pattern keeps in bulk."""
        if self._is_plain and len(word) < 2:
            return []
        return [part.lower() for part in with_parts(word)] if self.lowercase else with_parts(word)

    @property
    def _folds_first(self) -> bool:
        """True if the text is folded to lower case before it is cut; capitals mark parts of identifiers."""
        return self.lowercase and not self.identifier_parts

    def _cut(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], pa.StringArray]:
        """Tokenise texts, before stop words and stems; the plain pattern also keeps words of one character."""
        if self._is_plain:
            cut = [_runs_of_word_characters(piece, self._folds_first) for piece in _pieces(texts)]
            lengths = [np.diff(indptr) for indptr, _ in cut]
            return indptr_of(np.concatenate(lengths)), pa.concat_arrays([words for _, words in cut])
        words = [self.words(text) for text in texts]
        flat = pa.array(list(chain.from_iterable(words)), pa.string())
        return indptr_of([len(part) for part in words]), flat

    @cached_property
    def words(self) -> Callable[[str], list[str]]:
        """Function that returns the words of a text before parts, stop words and stems."""
        try:
            check_time(self.token_pattern)
            pattern = re.compile(self.token_pattern)
        except (re.error, UnboundedPatternError) as error:
            what = "is not a regular expression" if isinstance(error, re.error) else "cannot be used"
            raise UsageError(
                f"token_pattern={self.token_pattern!r} {what}: {error}", "correct corpus.edition.token_pattern."
            ) from error
        if pattern.groups > 1:
            raise UsageError(
                f"token_pattern={self.token_pattern!r} has {pattern.groups} groups.",
                "use at most one capturing group, the word itself.",
            )
        find = pattern.findall
        return (lambda text: find(text.lower())) if self._folds_first else find

    @cached_property
    def _stop_set(self) -> frozenset[str]:
        return frozenset() if self.stop_words is None else ENGLISH

    @cached_property
    def _stem(self) -> Callable[[str], str] | None:
        if self.stemmer is None:
            return None
        stem = porter_stemmer().stem
        # A stem takes 50 microseconds, and the words of texts are much the same.
        return lru_cache(_STEMS_KEPT)(lambda word: str(stem(word, to_lowercase=self.lowercase)))

    def __getstate__(self) -> dict[str, object]:
        """Pickle the settings only: compiled patterns and stemmers are created again in the other process."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def _pieces(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield one or more runs of texts, short enough for the arrays over their bytes to stay in the cache of a core."""
    first = size = 0
    for number, text in enumerate(texts):
        size += len(text)
        if size >= _PIECE_CHARACTERS:
            yield texts[first : number + 1]
            first, size = number + 1, 0
    yield texts[first:]


def _runs_of_word_characters(texts: Sequence[str], lowercase: bool) -> tuple[NDArray[np.int64], pa.StringArray]:
    r"""Find the matches of ``\w+`` over UTF-8 bytes: ``indptr`` [texts + 1] and the words.

    Bytes outside of words are removed; a word begins at a word byte that follows another byte or begins a text.
    """
    # ASCII is folded by the translation of bytes below; other letters are left to Python (some fold to two).
    folded = [text if text.isascii() else text.lower() for text in texts] if lowercase else texts
    _, offsets, data = pa.array(folded, pa.string()).buffers()
    bounds = np.frombuffer(offsets, np.int32)[: len(texts) + 1].astype(np.int64) if texts else np.zeros(1, np.int64)
    content = np.frombuffer((data.to_pybytes() if data else b"")[: bounds[-1]].translate(_bytes(lowercase)), np.uint8)
    is_word = content != _BLANK
    _mark_letters_beyond_ascii(content, is_word)
    begins, ends = is_word.copy(), is_word.copy()
    begins[1:] &= ~is_word[:-1]
    ends[:-1] &= ~is_word[1:]
    inside = bounds[1:-1][(bounds[1:-1] > 0) & (bounds[1:-1] < len(content))]
    begins[inside], ends[inside - 1] = is_word[inside], is_word[inside - 1]
    first = np.flatnonzero(begins)
    word_offsets = indptr_of(np.flatnonzero(ends) + 1 - first).astype(np.int32)
    words = pa.StringArray.from_buffers(len(first), pa.py_buffer(word_offsets), pa.py_buffer(content[is_word]))
    return np.searchsorted(first, bounds), words


def _mark_letters_beyond_ascii(content: NDArray[np.uint8], is_word: NDArray[np.bool_]) -> None:
    """Correct ``is_word`` for characters of several bytes, all of which are 128 or more."""
    positions = np.flatnonzero(content >= 128)
    if len(positions):
        points = np.frombuffer(content[positions].tobytes().decode().encode("utf-32-le"), np.uint32)
        distinct, which = np.unique(points, return_inverse=True)
        is_letter = np.array([chr(point).isalnum() for point in distinct])[which]
        is_word[positions] = np.repeat(is_letter, 2 + (points >= 0x800) + (points >= 0x10000))


@cache
def _bytes(lowercase: bool) -> bytes:
    """Return a translation table that keeps word characters, folds them if requested, and blanks the rest of ASCII."""
    ascii_ = (chr(code) if chr(code).isalnum() or chr(code) == "_" else " " for code in range(128))
    return "".join(c.lower() if lowercase else c for c in ascii_).encode() + bytes(range(128, 256))


class Vocabulary:
    """Words of a corpus with their statistics over the training documents.

    Args:
        terms: Words in the order of their numbers (alphabetical).
        document_frequency: Number of training documents that contain each word.
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
        """Number of each word."""
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
        """Return the numbers of the known words, in order; unknown words are left out."""
        index = self.index
        return np.asarray([index[token] for token in tokens if token in index], dtype=np.int32)

    def counts(self, tokens: Iterable[str]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the sorted numbers of the known words and the count of each."""
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
    def read(cls, path: Path, remedy: str, error: type[TexthashError] = CorpusError) -> Vocabulary:
        """Read a file that holds the output of :meth:`to_json`.

        Args:
            path: File.
            remedy: Remedy for the error.
            error: Class of the error.

        Raises:
            TexthashError: The file is missing or broken.
        """
        try:
            stored = read_typed(_Stored, path, remedy, error=error)
        except FileNotFoundError as problem:
            raise error(f"{path} cannot be read: {problem}.", remedy) from problem
        if len(stored.terms) != len(stored.document_frequency):
            raise error(
                f"{path} is broken: {len(stored.terms)} terms have {len(stored.document_frequency)} document "
                "frequencies.",
                remedy,
            )
        return cls(stored.terms, stored.document_frequency, stored.documents, stored.occurrences)


_Count = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class _Stored:
    """Content of the file of a vocabulary."""

    documents: _Count
    occurrences: _Count
    terms: list[str]
    document_frequency: list[_Count]
