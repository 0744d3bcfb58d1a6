"""Standard streams that are closed, as in some jobs of the system, or whose reader has left."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

from texthash.errors import TexthashError
from texthash.io.outputs import naming

_STREAMS = {"stdin": "r", "stdout": "w", "stderr": "w"}
_OUTPUT = "the standard output"


def open_closed_streams() -> None:
    """Open the null device for each standard stream that is closed.

    Otherwise the next file that is opened gets its number, and whatever is printed goes there.
    """
    for number, (name, mode) in enumerate(_STREAMS.items()):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  (open as long as the program)


def name_output() -> None:
    """Name the standard output in its errors, which the system reports without a name, as those of any file."""
    stream = sys.stdout
    if stream is not sys.__stdout__ or not isinstance(stream, io.TextIOWrapper):
        return
    unbuffered = stream.write_through
    named: Any = _NamedFile(stream.fileno(), "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        named if unbuffered else io.BufferedWriter(named),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=unbuffered,
    )


def drop_output() -> None:
    """Send what is still to be printed to the null device, since what reads it has left or has no room.

    Python would try again at its end, and report that in words of its own.
    """
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (open as long as the program)
    if sys.__stdout__ is not None:
        os.dup2(sys.stdout.fileno(), sys.__stdout__.fileno())


def output_error(error: BaseException) -> TexthashError | None:
    """Return what to show for an error of the standard output (:func:`name_output`); None for any other error."""
    if not isinstance(error, OSError) or error.filename != _OUTPUT:
        return None
    drop_output()
    return TexthashError(
        f"{_OUTPUT} cannot be written: {error.strerror}.", "make room where it goes, or send it elsewhere."
    )


class _NamedFile(io.FileIO):
    """File that is named in its errors of writing."""

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        with naming(Path(_OUTPUT)):
            return super().write(data)
