"""Peak memory of one preparation, by texthash on Ray or by scikit-learn, in a separate process.

It is the unique memory of the driver and of all processes that it started, above that after the start of Ray (for
scikit-learn: above that of the process with the texts). Every measurement has its own process and cluster: memory freed
by an earlier one would be reused, and hide the needs of a later one.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Literal

import psutil
import ray
import ray.data  # sets its own level of logging when it is imported
from scipy.sparse import csr_matrix

from texthash.config import CorpusConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.errors import TexthashError
from texthash.executor import RayExecutor
from texthash.paths import resolve_home

_MIB = 2**20
_SAMPLE_SECONDS = 0.25

Engine = Literal["texthash", "scikit_learn"]


def peaks(engine: Engine, config: CorpusConfig, workers: int) -> dict[str, float]:
    """Return ``peak_mib`` of all processes together, and ``driver_mib``, that of the driver alone.

    Raises:
        TexthashError: The preparation failed.
    """
    child = [sys.executable, "-m", __name__, engine, config.model_dump_json(), str(workers)]
    ended = subprocess.run(
        child, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True, check=False, encoding="utf-8"
    )
    if ended.returncode:
        raise TexthashError("the measured preparation failed.", "read its output above for the reason.")
    found: dict[str, float] = json.loads(ended.stdout)
    return found


@contextmanager
def cluster(cpus: int) -> Iterator[None]:
    """Run a Ray cluster of ``cpus`` CPUs during the block."""
    logging.getLogger(ray.data.__name__).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="th", dir="/tmp") as temporary:  # socket paths have to be short
        ray.init(
            address="local",
            num_cpus=cpus,
            object_store_memory=300_000_000,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=temporary,
        )
        try:
            yield
        finally:
            ray.shutdown()


def training_texts(config: CorpusConfig) -> list[str]:
    """Return all texts but the first two, which are validation and test."""
    with open(config.path or "", encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in islice(file, 2, None)]


def fit_transform(texts: list[str], words: int | None) -> csr_matrix:
    """Return scikit-learn's tf-idf vectors of texts, with the words that texthash selects."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(stop_words="english", max_features=words).fit_transform(texts)


def _watched(engine: Engine, config: CorpusConfig, workers: int) -> dict[str, float]:
    if engine == "scikit_learn":
        texts = training_texts(config)
        with _watch() as peak:
            fit_transform(texts, config.edition.vocabulary_size)
    else:
        with tempfile.TemporaryDirectory() as home, cluster(workers), _watch() as peak:
            prepare_corpus(config, resolve_home(home), RayExecutor(workers))
    return {name: round(size / _MIB, 1) for name, size in peak.items()}


@contextmanager
def _watch() -> Iterator[dict[str, int]]:
    """Yield a record of the largest memory during the block, above that at its beginning."""
    before, ended = _memory(), threading.Event()
    peak = dict.fromkeys(before, 0)

    def sample() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            for name, size in _memory().items():
                peak[name] = max(peak[name], size - before[name])

    pool = ThreadPoolExecutor(1)
    sampling = pool.submit(sample)
    try:
        yield peak
    finally:
        ended.set()
        sampling.result()  # raises an error of the sampling, without which the peak would be too low


def _memory() -> dict[str, int]:
    """Return the unique bytes of this process, and of this process with all that it started."""
    here = psutil.Process()
    driver = total = here.memory_full_info().uss
    for process in here.children(recursive=True):
        try:
            total += process.memory_full_info().uss
        except psutil.NoSuchProcess:  # the process has ended meanwhile
            continue
    return {"peak_mib": total, "driver_mib": driver}


if __name__ == "__main__":
    _engine, _config, _workers = sys.argv[1:]
    _found = _watched(_engine, CorpusConfig.model_validate_json(_config), int(_workers))  # type: ignore[arg-type]
    sys.stdout.write(json.dumps(_found))
