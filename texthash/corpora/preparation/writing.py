"""Fit of the token pattern to the writing system of a corpus."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from itertools import islice

from texthash.config import Edition
from texthash.corpora.words import Analyzer

_TEXTS, _CHARACTERS = 100, 2_000
# A word of a script without spaces is rarely longer; a longer run of such letters is a phrase.
_LONGEST_WORD = 4
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_MARKED_WORDS = r"(?u)[\w\u0300-\u036f\u0900-\u0dff\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff]{2,}"
_SINGLE_CHARACTERS = r"(?u)[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]{2,}"


@dataclass(frozen=True)
class Fit:
    """Numbers of characters in a sample of texts.

    Attributes:
        letters: Number of letters, digits and marks on them.
        within: Number of characters within words.
        phrases: Number of characters within words of a script without spaces that are too long to be words.
    """

    letters: int = 0
    within: int = 0
    phrases: int = 0

    def __add__(self, other: Fit) -> Fit:
        return Fit(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def hints(self, edition: Edition) -> list[str]:
        """Return warnings about an unsuitable token pattern of the edition, with a better one."""
        pattern = f"corpus.edition.token_pattern={edition.token_pattern}"
        if 2 * self.phrases > self.letters:
            return [
                f"{pattern} takes whole phrases for words: most characters are of a script that is written without "
                f"spaces. Put spaces between the words, or set it to '{_SINGLE_CHARACTERS}'."
            ]
        if 2 * self.within < self.letters:
            return [
                f"{pattern} leaves out most letters: {self.within / self.letters:.0%} are within words. Where marks "
                f"stand on the letters, set it to '{_MARKED_WORDS}'."
            ]
        return []


def fit_of(texts: Iterable[str], analyzer: Analyzer) -> Fit:
    """Measure how well the words of an analyzer, before stop words, cover the beginnings of texts."""
    letters = within = phrases = 0
    for text in islice(texts, _TEXTS):
        begin = text[:_CHARACTERS]
        letters += sum(unicodedata.category(character)[0] in "LMN" for character in begin)
        for word in analyzer.words(begin):
            within += len(word)
            if len(word) > _LONGEST_WORD and not word.isascii() and _UNSPACED.match(word):
                phrases += len(word)
    return Fit(letters, within, phrases)
