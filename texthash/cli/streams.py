"""Standard streams that are closed, as in some jobs of the system, or whose reader has left."""

from __future__ import annotations

import os
import sys

_STREAMS = {"stdin": "r", "stdout": "w", "stderr": "w"}


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


def drop_output() -> None:
    """Send what is still to be printed to the null device, since what reads it has left or has no room.

    Python would try again at its end, and report that in words of its own.
    """
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (open as long as the program)
    if sys.__stdout__ is not None:
        os.dup2(sys.stdout.fileno(), sys.__stdout__.fileno())
