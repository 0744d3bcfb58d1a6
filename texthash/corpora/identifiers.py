"""Identifiers cut into the words of which they are made."""

from __future__ import annotations

import re

# Capitals before one that begins a word, a word with or without a capital, or digits.
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PARTS_BEYOND_ASCII = re.compile(r"[^\W\d_]+|\d+")


def parts_of(word: str) -> list[str]:
    """Return the parts of a word, cut at underscores, digits and capitals, in its own case.

    Beyond ASCII, where many scripts have no capitals, a word is cut at underscores and digits only.

    >>> parts_of("read_csv"), parts_of("HTTPServer"), parts_of("word")
    (['read', 'csv'], ['HTTP', 'Server'], ['word'])
    """
    return (_PARTS if word.isascii() else _PARTS_BEYOND_ASCII).findall(word)


def with_parts(word: str) -> list[str]:
    """Return a word followed by its parts if it has several, or its only part; parts of one character are left out.

    >>> with_parts("read_csv"), with_parts("__init__"), with_parts("x2")
    (['read_csv', 'read', 'csv'], ['init'], ['x2'])
    """
    parts = parts_of(word)
    whole = [word] if len(parts) > 1 else []
    return whole + [part for part in parts if len(part) > 1]
