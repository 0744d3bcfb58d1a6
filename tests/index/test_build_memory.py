"""Memory of the two steps of a build: it does not grow with the number of documents."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from texthash.config import CorpusConfig, Edition, SplitRule, TrainingConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.index.writing.encoded_rows import _BLOCK_BYTES
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.training.loop import fit

# Encodes the files of a corpus, or writes the one shard of it, and prints the most anonymous memory that this took.
_STEP = """
import sys, threading, time
from pathlib import Path
import lance, torch
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.index.storage.arrow_schema import DEFAULT_WEIGHTS
from texthash.index.writing.build import build_shard
from texthash.index.writing.encoded_rows import EncodeJob, corpus_files, load_encoder

step, hasher, corpus, index = sys.argv[1], *map(Path, sys.argv[2:])
job, files = EncodeJob(hasher, corpus, index, 1, None), corpus_files(PreparedCorpus.open(corpus))

def anonymous():
    line = next(line for line in open("/proc/self/status") if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024

most, ended = [0], threading.Event()

def watch():
    while not ended.wait(0.005):
        most[0] = max(most[0], anonymous())

watcher = threading.Thread(target=watch)
watcher.start()
if step == "encode":
    encode = load_encoder(job)
    for file in files:
        encode(file=file)
else:
    build_shard(job, files, 0, keywords="english", weights=DEFAULT_WEIGHTS)
ended.set()
watcher.join()
print(most[0])
"""
SIZES = (25_000, 100_000, 400_000)


def _memory(step: str, hasher: Path, corpus: Path, index: Path) -> int:
    words = [sys.executable, "-c", _STEP, step, str(hasher), str(corpus), str(index)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def _rows(path: Path, count: int) -> Path:
    """Short documents, each of nine of 5,000 words."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            text = " ".join(f"w{chr(97 + (number * step) % 26)}{(number * step) % 5000}" for step in range(1, 10))
            file.write(json.dumps({"id": f"made/{number:09d}", "text": text, "labels": [f"l{number % 7}"]}) + "\n")
    return path


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read from /proc")
def test_memory_is_flat_at_one_four_and_sixteen_times_the_documents(tmp_path: Path) -> None:
    edition = Edition(name="e", split=SplitRule(kind="random"), vocabulary_size=2000)
    found: dict[str, list[int]] = {"encode": [], "shard": []}
    for count in SIZES:
        path = _rows(tmp_path / f"{count}.jsonl", count)
        config = CorpusConfig(name=f"made{count}", path=str(path), edition=edition, shards=1)
        corpus = PreparedCorpus.open(prepare_corpus(config, StateDir(tmp_path / "home")))
        method = fit(build("lsh", corpus.shape, 64), corpus.train, TrainingConfig()).method
        hasher = Hasher.of(method, corpus).save(tmp_path / "models" / str(count))
        for step, own in found.items():
            own.append(_memory(step, hasher, corpus.path, tmp_path / "index" / str(count)))
    grown = {step: own[-1] - own[0] for step, own in found.items()}
    # Encoding holds a block, and copies it. Lance holds up to 2 MB of each of nine columns until it writes them, and
    # some tens of MB of ids while it sorts them.
    assert grown["encode"] < 3 * _BLOCK_BYTES, found
    assert grown["shard"] < 80_000_000, found
