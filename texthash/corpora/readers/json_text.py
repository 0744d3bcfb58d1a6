"""JSON of rows: one object, or the members of a list, one of which is in memory at a time.

Both use one decoder, so that a row on a line of its own and a row in a list have the same value. (Parsers that report
paths to nested values need memory that grows with the square of the depth.)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

_BLOCK = 1 << 16
# An escape or a literal that is cut off is reported at most this many characters before the end.
_LONGEST_TOKEN = 16
_BLANKS = " \t\r\n"


def decode(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: The text is not JSON, an object has a name twice, or a number has thousands of digits.
        RecursionError: The nesting is thousands of brackets deep.
    """
    return _DECODER.decode(text)


def members(file: TextIO) -> Iterator[Any]:
    """Yield the members of a list; raises the errors of :func:`decode`."""
    text = _Text(file)
    text.expect("[")
    if text.peek() == "]":
        text.expect("]")
    else:
        more = True
        while more:
            yield text.value()
            more = text.expect(",]") == ","
    if text.peek():
        raise ValueError(f"there is more after the end of the list: {text.peek()!r}")


class _Text:
    """Buffer of text that was read from a file and is not decoded yet."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._place = 0
        self._ended = False

    def peek(self) -> str:
        """Return the next character that is not blank; the empty string at the end."""
        while True:
            while self._place < len(self._text):
                if self._text[self._place] not in _BLANKS:
                    return self._text[self._place]
                self._place += 1
            if self._ended:
                return ""
            self._read()

    def expect(self, characters: str) -> str:
        """Consume and return the next character, which has to be one of these."""
        found = self.peek()
        if not found or found not in characters:
            raise ValueError(f"{found!r} where one of {characters!r} is expected" if found else "cut off")
        self._place += 1
        return found

    def value(self) -> Any:
        """Consume and return the next value."""
        self.peek()
        while True:
            try:
                found, end = _DECODER.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                if self._ended or not self._is_cut(error):
                    raise ValueError(error.msg if not self._ended else f"{error.msg}, or cut off") from error
            else:
                if end < len(self._text) or self._ended:  # a number may continue
                    self._place = end
                    return found
            self._read()

    def _is_cut(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _LONGEST_TOKEN

    def _read(self) -> None:
        rest = self._text[self._place :]
        more = self._file.read(max(_BLOCK, len(rest)))  # doubles the buffer, as a long value is decoded again
        self._text, self._place, self._ended = rest + more, 0, not more


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise ValueError(f"the name {twice!r} occurs twice in one object")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object)
