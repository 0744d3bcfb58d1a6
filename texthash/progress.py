"""Progress of long work, on stderr: bars on a terminal, plain lines elsewhere, so that data on stdout stays clean."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_LINE_EVERY_SECONDS = 5.0


def say(message: str) -> None:
    """Write one line of progress to stderr."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201  (the one place that prints)


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield ``items`` while showing how far the work is.

    Args:
        items: What to iterate over.
        label: What the work is called, for instance ``"encoding"``.
        total: Number of items, when ``items`` has no length.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track as rich_track

        yield from rich_track(items, label, total=total, console=Console(stderr=True))
        return
    last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last >= _LINE_EVERY_SECONDS:
            last = time.monotonic()
            say(f"{label}: {done}" + (f"/{total}" if total else ""))
