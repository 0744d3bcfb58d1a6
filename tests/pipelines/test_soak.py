"""The soak as a program: searches and writes for some seconds against a real service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.programs import program
from tests.small_disk import small_disk
from texthash.cluster import free_port
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.index.releases.publish import publish
from texthash.index.releases.release import read_release
from texthash.index.releases.verify import verify
from texthash.index.writing.build import build_index
from texthash.paths import StateDir

PROGRAM = Path(__file__).parents[2] / "pipelines" / "soak.py"


# Until its caches are full a process grows, also one that does nothing wrong. From the middle third to the last: by
# 14 MiB in two minutes (the writer), by 22 in thirty (a shard; Lance alone may keep 16 MiB of its metadata).
_WARM_MIB = 32.0


def test_thirds_without_requests_have_no_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = {"documents": 1, "wrong": [], "failures": [], "refused": [], "searches": [[0.5, 0.002]], "writes": []}
    samples = [{"seconds": float(second), "memory": 100.0} for second in range(7)]
    figures = program("soak", monkeypatch).figures_of(outcome, samples)
    assert figures["searches_first_third"] == {"p50_ms": 2.0, "p99_ms": 2.0}
    assert [figures[name] for name in ("searches_last_third", "writes_first_third", "writes_last_third")] == [None] * 3
    assert (figures["searches_per_s"], figures["writes_per_s"]) == (0.2, 0.0)


@pytest.mark.ray
@pytest.mark.parametrize("minutes", [0.1, pytest.param(2.0, marks=pytest.mark.slow)])
def test_nothing_fails_and_everything_is_found(
    small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path, minutes: float
) -> None:
    home = StateDir(tmp_path / "home")
    model = Path(shutil.copytree(small_hasher, home.root / "models" / "itq"))
    before = publish(home, model, build_index(model, small_corpus.path, home, shards=2))
    port = free_port()
    plot = tmp_path / "soak.png"
    done = subprocess.run(
        [sys.executable, PROGRAM, "--minutes", str(minutes), "--plot", plot, f"service.port={port}"],
        env={**os.environ, "TEXTHASH_HOME": str(home.root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout)
    assert (figures["failures"], figures["wrong"]) == (0, 0)
    assert figures["documents_checked"] > 0
    assert {"ingress", "writer"} <= set(figures)  # encoder and shards are in the ingress
    if minutes > 1:
        grown = {
            name: memory
            for name, memory in figures.items()
            if isinstance(memory, dict) and memory.get("end", 0) > memory.get("middle", 0) + _WARM_MIB
        }
        assert grown == {}, "memory is not flat"
    assert plot.stat().st_size > 0
    assert read_release(home).version > before.version + 1
    assert read_release(home).documents == before.documents, "its documents are taken out again"
    assert [finding for finding in verify(home) if not finding.ok] == []


@pytest.mark.slow
@pytest.mark.ray
def test_nothing_is_lost_while_the_disk_fills_up_and_empties(
    small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 96) as disk:
        home = StateDir(disk.path / "home")
        model = Path(shutil.copytree(small_hasher, home.root / "models" / "itq"))
        before = publish(home, model, build_index(model, small_corpus.path, home, shards=2))
        port = free_port()
        done = subprocess.run(
            [sys.executable, PROGRAM, "--minutes", "0.2", "--fill-disk", f"service.port={port}"],
            env={
                **os.environ,
                "TEXTHASH_HOME": str(home.root),
                "TEXTHASH_MIN_FREE_BYTES": str(8 * 2**20),
                "OMP_NUM_THREADS": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        figures = json.loads(done.stdout)
        assert (figures["failures"], figures["wrong"]) == (0, 0)
        assert figures["refused"] > 0
        assert figures["documents_checked"] > 0
        assert read_release(home).documents == before.documents, "its documents are taken out again"
        assert [finding for finding in verify(home) if not finding.ok] == []
