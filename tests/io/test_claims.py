"""Claims in an object store: a holder that has died on another node is outlived, one that is alive is named."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.io.conftest import Node
from tests.io.store import Store, child_environment
from texthash.config import CorpusConfig
from texthash.io import leases
from texthash.io.atomic import InUseError
from texthash.io.claims import claim
from texthash.io.places import create, read
from texthash.paths import as_path

# Holds a claim as a process of another node does, which cannot be looked for among the processes of this one.
_ELSEWHERE = """
import sys, time
from texthash.config import CorpusConfig
from texthash.io import leases
from texthash.paths import as_path
leases._node = lambda: "another"
held = leases.acquire(as_path(sys.argv[1]), {"host": "far", "process": 1, "since": "noon"}, seconds=3)
print("held", flush=True)
time.sleep(600)
"""


@contextmanager
def _held_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _ELSEWHERE, str(path)]
    with subprocess.Popen(command, env=child_environment(), stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


def test_a_claim_of_a_living_process_elsewhere_is_refused_as_soon_as_it_is_renewed(store: Store) -> None:
    path = as_path(f"{store.bucket()}/claim")
    with _held_elsewhere(path):
        began = time.monotonic()
        with (
            pytest.raises(InUseError, match="the sweep x is being done by process 1 on far, since noon"),
            claim(path, "the sweep x", "wait until it ends."),
        ):
            pass
        assert time.monotonic() - began < leases.SECONDS


def test_a_claim_of_a_process_that_died_elsewhere_is_taken_over_after_its_duration(store: Store) -> None:
    path = as_path(f"{store.bucket()}/claim")
    with _held_elsewhere(path) as holder:
        holder.kill()
        holder.wait()
        began = time.monotonic()
        with claim(path, "the sweep x", "wait until it ends."):
            record, _ = read(path)
            assert record is not None
            assert record["epoch"] == 2
        assert time.monotonic() - began < 10


def test_a_wait_without_time_for_it_ends_at_once(store: Store) -> None:
    """Only claims outlive a dead holder; the lease of a writer does not wait unless it is told to."""
    path = as_path(f"{store.bucket()}/lease")
    record = {"holder": {"host": "far"}, "epoch": 7, "expires": time.time() + 60, "seconds": 30.0, "own": "x"}
    assert create(path, {**record, "node": "another", "process": 1})
    began = time.monotonic()
    with pytest.raises(leases.LeaseHeldError, match="host far"):
        leases.acquire(path, {"host": "b"})
    assert time.monotonic() - began < 5


_PREPARE = """
import sys
from texthash.config import CorpusConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.paths import resolve_home
print(prepare_corpus(CorpusConfig.model_validate_json(sys.argv[1]), resolve_home()))
"""


def test_two_jobs_that_prepare_one_corpus_in_one_bucket_take_turns(
    store: Store, node: Node, small_config: CorpusConfig
) -> None:
    """The second neither reads the source, nor finds the staging of the first removed under its hands."""
    home = node("one")
    command = [sys.executable, "-c", _PREPARE, small_config.model_dump_json()]
    both = [
        subprocess.Popen(command, env=child_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ends = [job.communicate(timeout=300) for job in both]
    assert [job.returncode for job in both] == [0, 0], [said for _, said in ends]
    assert len({printed for printed, _ in ends}) == 1
    target = home.corpus(small_config.name, small_config.edition.name)
    written = Counter(name for method, name in store.requests if method == "PUT" and ".parquet" in name)
    assert max(written.values()) == 1, "no shard was written twice"
    assert (target / "manifest.json").exists()
