"""Times of opening a live index, and of durable writes to it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.enlarged import enlarge
from benchmarks.reporting import JsonOption, milliseconds, report
from texthash.index.releases.release import open_release, read_release
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.paths import resolve_home


def command(
    json: JsonOption = None,
    documents: Annotated[int, typer.Option(min=1, help="Documents of the index: those of the release, repeated.")] = (
        1_000_000
    ),
    written: Annotated[int, typer.Option(min=1, help="Documents of one write.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of which the median is taken.")] = 9,
    release: Annotated[str, typer.Option(help="Release of TEXTHASH_HOME whose documents are taken.")] = "current",
) -> None:
    """Measure an enlarged index in a temporary directory, with the writes of the service."""
    source = resolve_home()
    with tempfile.TemporaryDirectory(prefix="texthash-live-") as place:
        home = enlarge(source, read_release(source, release), documents, Path(place))
        opened = open_release(home)
        texts = [row["text"] for row in opened.shards[0].documents(opened.shards[0].numbers[:written], ["text"])]
        batch = [IndexDocument(f"written/{number}", texts[number % len(texts)]) for number in range(written)]
        codes = np.resize(opened.hasher.encode(texts), (written, opened.release.bits // 8))
        times: dict[str, list[float]] = {}
        with IndexWriter.open(home) as writer:
            steps: dict[str, Callable[[], Any]] = {
                "open": lambda: open_release(home),
                "encode": lambda: opened.hasher.encode([document.text for document in batch]),
                "insert": lambda: writer.upsert(batch, codes),
                "replace": lambda: writer.upsert(batch, codes),
                "delete": lambda: writer.delete(ids=[document.id for document in batch]),
            }
            for _ in range(rounds):
                for step, call in steps.items():
                    times.setdefault(step, []).append(milliseconds(call))
        found = opened.release
    shared = {"engine": "texthash", "documents": found.documents, "bits": found.bits, "shards": len(found.shards)}
    rows: list[dict[str, Any]] = [
        {**shared, "step": step, "written": None if step == "open" else written}
        | {"ms": median(taken), "slowest_ms": max(taken)}
        for step, taken in times.items()
    ]
    report("a live index", rows, json)
