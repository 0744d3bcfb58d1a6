"""Progress of long work on stderr: bars on a terminal, plain lines elsewhere.

It is silent unless enabled by :func:`texthash.logging.show`, which every program of texthash calls.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from texthash.logging import is_shown, logger

T = TypeVar("T")

_LINE_EVERY_SECONDS = 5.0


def log_line(message: str) -> None:
    """Log one line of progress."""
    logger.info("%s", message)


def warn(message: str) -> None:
    """Log a warning, which is shown even if progress is hidden."""
    logger.warning("warning: %s", message)


def track(
    items: Iterable[T], label: str, total: int | None = None, documents: Callable[[T], int] | None = None
) -> Iterator[T]:
    """Yield ``items`` while showing progress and speed.

    Args:
        items: Items to iterate over.
        label: Name of the work, for instance ``"encoding"``.
        total: Number of items, if ``items`` has no length.
        documents: Function that returns the number of documents of an item, to show their number too.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    if not is_shown():
        yield from items
        return
    if sys.stderr.isatty():
        yield from _on_terminal(items, label, total, documents)
        return
    begin = last = time.monotonic()
    counted = 0
    for done, item in enumerate(items, start=1):
        yield item
        counted += documents(item) if documents else 1
        if (now := time.monotonic()) - last >= _LINE_EVERY_SECONDS:
            last = now
            many = f", {counted:,} documents" if documents else ""
            of = f"/{total}" if total else " done"
            log_line(f"{label}: {done}{of}{many} ({_speed(counted, now - begin)})")


def _on_terminal(
    items: Iterable[T], label: str, total: int | None, documents: Callable[[T], int] | None
) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[speed]}"))
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(label, total=total, speed="")
        begin, counted = time.monotonic(), 0
        for item in items:
            yield item
            counted += documents(item) if documents else 1
            speed = _speed(counted, time.monotonic() - begin)
            bars.update(task, advance=1, speed=f"{counted:,} documents, {speed}" if documents else speed)


def _speed(count: int, seconds: float) -> str:
    """Format a speed: ``(90, 30.0)`` -> ``3/s``; below one per second as ``20 s each``."""
    if count < seconds:
        return f"{seconds / max(1, count):,.0f} s each"
    return f"{count / max(1e-9, seconds):,.0f}/s"


def transfer(chunks: Iterable[bytes], label: str, done: int = 0, total: int | None = None) -> Iterator[bytes]:
    """Yield ``chunks`` of bytes while showing their amount and speed.

    Args:
        chunks: Chunks of a transfer.
        label: Name of the work, for instance ``"fetching corpus.tar.gz"``.
        done: Number of bytes transferred before.
        total: Total number of bytes, if known.
    """
    if not is_shown():
        yield from chunks
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
            task = bars.add_task(label, total=total, completed=done)
            for chunk in chunks:
                yield chunk
                bars.advance(task, len(chunk))
        return
    begin = last = time.monotonic()
    before = done
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        now = time.monotonic()
        if now - last >= _LINE_EVERY_SECONDS:
            last = now
            of = f" of {megabytes(total)}" if total else ""
            log_line(f"{label}: {megabytes(done)}{of}, {megabytes((done - before) / (now - begin))}/s")


def megabytes(count: float) -> str:
    """Format a number of bytes: ``14464277`` -> ``14.5 MB``."""
    return f"{count / 1e6:,.1f} MB"


@contextmanager
def step(name: str) -> Iterator[None]:
    """Log when a step begins, and how long it took."""
    log_line(f"== {name}")
    started = time.monotonic()
    yield
    log_line(f"== {name}: {time.monotonic() - started:.1f} s")
