"""Memory of training by size of the corpus: one epoch with validation, in a process whose memory is limited.

The corpus is synthetic (words by Zipf's law, no text), in shards like those of a preparation. A separate process
creates the memory-mapped arrays, trains and validates under RLIMIT_DATA, which limits the memory of a process except
for mapped files. Loading the split as a matrix has to fail under the limit, which shows that it is effective.
``anonymous_mib`` is the peak of memory that is not backed by files, above that before the corpus was opened.
"""

from __future__ import annotations

import json as jsonlib
import resource
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from benchmarks.reporting import JsonOption, report
from texthash.config import CorpusConfig, EvaluationConfig, TrainingConfig
from texthash.corpora.preparation.shards import SCHEMA
from texthash.corpora.prepared.corpus import VOCABULARY, PreparedCorpus
from texthash.corpora.prepared.manifest import MANIFEST, Manifest, SplitCounts
from texthash.corpora.words import Vocabulary
from texthash.errors import TexthashError
from texthash.io.ragged import from_arrow, indptr_of, to_arrow
from texthash.progress import log_line, track

_MIB = 2**20
_ROWS = 8192
_LABELS = 20
_SAMPLE_SECONDS = 0.02
_HELD_OUT = 1000


def command(
    json: JsonOption = None,
    documents: Annotated[list[int] | None, typer.Option(help="Training documents; may be given several times.")] = None,
    length: Annotated[int, typer.Option(min=2, help="Words of a document.")] = 200,
    words: Annotated[int, typer.Option(min=100, help="Words in the vocabulary.")] = 10_000,
    method: Annotated[str, typer.Option(help="Method that is trained.")] = "nash",
    bits: Annotated[int, typer.Option(help="Length of the code.")] = 32,
    hidden: Annotated[int, typer.Option(help="Width of the method's encoder.")] = 1000,
    limit_mib: Annotated[int, typer.Option(help="Memory limit of the process, beyond the memory of torch.")] = 600,
) -> None:
    """Measure the peak memory of an epoch, with the corpus' arrays in files."""
    rows = []
    for number in documents or [50_000, 200_000]:
        with tempfile.TemporaryDirectory() as folder:
            corpus = make(Path(folder) / "corpus", number, length, words)
            rows.append({"documents": number, **measured(corpus, method, bits, hidden, limit_mib)})
    report("memory of training", rows, json)


def make(path: Path, documents: int, length: int, words: int) -> Path:
    """Write a prepared corpus of synthetic documents."""
    generator = np.random.default_rng(0)
    share = 1 / np.arange(1, words + 1)
    share /= share.sum()
    names = [f"label{number:02d}" for number in range(_LABELS)]
    splits = {}
    for split, size in (("train", documents), ("validation", _HELD_OUT), ("test", _HELD_OUT)):
        (path / split).mkdir(parents=True)
        tables = (
            _table(generator, start, min(_ROWS, size - start), length, share, names) for start in range(0, size, _ROWS)
        )
        counts = dict.fromkeys(("documents", "words", "tokens", "labels"), 0)
        with pq.ParquetWriter(path / split / "part-00000.parquet", SCHEMA, compression="zstd") as writer:
            for table in track(tables, f"making {split}", -(-size // _ROWS)):
                writer.write_table(table)
                for key, column in (("words", "word_ids"), ("tokens", "tokens"), ("labels", "label_ids")):
                    counts[key] += len(from_arrow(table[column])[1])
                counts["documents"] += len(table)
        splits[split] = SplitCounts(**counts)
    frequency = np.maximum(1, documents * -np.expm1(length * np.log1p(-share))).astype(np.int64)
    terms = [f"w{number:06d}" for number in range(words)]
    vocabulary = Vocabulary(terms, frequency, documents, splits["train"].tokens)
    (path / VOCABULARY).write_text(vocabulary.to_json(), encoding="utf-8")
    manifest = Manifest(
        name="made-up",
        config=CorpusConfig(name="made-up", shards=1),
        splits=splits,
        dropped={},
        label_names=names,
        multi_label=False,
        vocabulary_hash=vocabulary.hash,
        source_checksum="",
    )
    (path / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return path


def _table(
    generator: np.random.Generator, start: int, rows: int, length: int, share: np.ndarray, names: list[str]
) -> pa.Table:
    """Return documents in which the words of their label are more frequent."""
    labels = generator.integers(len(names), size=rows)
    drawn = np.searchsorted(np.cumsum(share), generator.random((rows, length))).clip(max=len(share) - 1)
    drawn[:, ::4] = (drawn[:, ::4] // len(names) * len(names) + labels[:, None]).clip(max=len(share) - 1)
    pairs, counts = np.unique(np.arange(rows)[:, None] * len(share) + drawn, return_counts=True)
    indptr = indptr_of(np.bincount(pairs // len(share), minlength=rows))
    each = np.arange(rows + 1)
    columns = {
        "id": pa.array([str(start + row) for row in range(rows)]),
        "text": pa.array([""] * rows),
        "title": pa.array([""] * rows),
        "labels": pa.array([[names[label]] for label in labels]),
        "label_ids": to_arrow(each, labels.astype(np.int32)),
        "tokens": to_arrow(each * length, drawn.ravel()),
        "word_ids": to_arrow(indptr, pairs % len(share)),
        "counts": to_arrow(indptr, counts.astype(np.int32)),
    }
    return pa.table(columns, schema=SCHEMA)


def measured(corpus: Path, method: str, bits: int, hidden: int, limit_mib: int) -> dict[str, Any]:
    """Train in a separate process, and return its report.

    Raises:
        TexthashError: The process failed, for instance because it needed more memory than the limit.
    """
    log_line(f"training {method} under a limit of {limit_mib} MiB")
    child = [sys.executable, "-m", "benchmarks.memory", str(corpus), method, str(bits), str(hidden), str(limit_mib)]
    ended = subprocess.run(
        child, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True, check=False, encoding="utf-8"
    )
    if ended.returncode:
        raise TexthashError(f"training under {limit_mib} MiB failed.", "read its output above for the reason.")
    row: dict[str, Any] = jsonlib.loads(ended.stdout)
    return row


def _train(path: Path, method: str, bits: int, hidden: int, limit_mib: int) -> dict[str, Any]:
    import torch

    from texthash.evaluation.protocol import EvaluationProtocol
    from texthash.methods.registry import build
    from texthash.training.loop import fit

    torch.set_num_threads(1)
    (torch.ones(8, 8, requires_grad=True) @ torch.ones(8, 8)).sum().backward()  # starts the threads of autograd
    before = _anonymous()
    limit = _data() + limit_mib * _MIB
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    corpus = PreparedCorpus.open(path)
    peak, ended = [0], threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            peak[0] = max(peak[0], _anonymous())

    pool = ThreadPoolExecutor(1)
    sampling = pool.submit(sample)
    started = time.perf_counter()
    try:
        mapped = sum(array.nbytes for array in (*corpus.train.counts, *corpus.train.tokens, *corpus.train.label_ids))
        untrained = build(method, corpus.shape, bits, {"hidden": hidden}, 0)
        fit(
            untrained,
            corpus.train,
            TrainingConfig(epochs=1),
            validate=EvaluationProtocol(corpus, EvaluationConfig()).validator(),
        )
        seconds = time.perf_counter() - started
    finally:
        ended.set()
        sampling.result()  # raises an error of the sampling, without which the peak would be too low
    try:
        corpus.train.matrix()
        binds = False
    except MemoryError:
        binds = True
    return {
        "method": method,
        "hidden": hidden,
        "corpus_mib": round(mapped / _MIB, 1),
        "anonymous_mib": round((peak[0] - before) / _MIB, 1),
        "limit_mib": limit_mib,
        "matrix_fits": not binds,
        "seconds": round(seconds, 1),
    }


def _anonymous() -> int:
    return _status("RssAnon")


def _data() -> int:
    return _status("VmData")


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise TexthashError(f"/proc/self/status has no {key}.", "measure on Linux 4.7 or later.")


if __name__ == "__main__":
    place, name, *numbers = sys.argv[1:]
    sys.stdout.write(jsonlib.dumps(_train(Path(place), name, *map(int, numbers))))
