"""Faults: a writer is killed at a random moment; nothing that it acknowledged may be lost, nothing half-done be seen.

python -m tests.index.killed_writer write HOME SEED      write until killed, a line for each acknowledged write
python -m tests.index.killed_writer rounds HOME COUNT    so many rounds over one index, which goes on growing
python -m tests.index.killed_writer full HOME COUNT      the same while the disk, HOME's own, fills and empties
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np

from tests.small_disk import SmallDisk
from texthash.index.filters.language import Labels
from texthash.index.releases.release import open_release, read_release
from texthash.index.storage.free_space import DiskFullError
from texthash.index.storage.shard_format import width_of
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.paths import StateDir

_ROOT = Path(__file__).parents[2]
_IDS = 60
_LONGEST_S = 1.2
_LARGEST_DISK = 2**30


def write(home: StateDir, seed: int) -> None:
    """Upsert and delete sets of documents for ever. Every document of a set carries the number of its write as title,
    in its code and in its vector, if the index keeps some, so that half a write would show. An intention is printed
    before a write, the fact after it, also that the disk was full."""
    rng = random.Random(seed)
    with _opened(home) as writer:
        print(json.dumps({"event": "open"}), flush=True)
        for number in range(1 << 20):
            ids = sorted(f"id{i}" for i in rng.sample(range(_IDS), rng.randint(1, 30)))
            kind = rng.choice(["upsert", "upsert", "upsert", "delete", "compact"])
            record = {"kind": kind, "ids": ids, "mark": f"{seed}.{number}"}
            print(json.dumps({"event": "begin", **record}), flush=True)
            try:
                _make(writer, record, number)
            except DiskFullError:
                print(json.dumps({"event": "refused", **record}), flush=True)
            else:
                print(json.dumps({"event": "done", **record}), flush=True)


def _opened(home: StateDir) -> IndexWriter:
    while True:
        try:
            return IndexWriter.open(home, least_free=0)
        except DiskFullError:  # something is to be undone, for which there is no space now
            time.sleep(0.01)


def _make(writer: IndexWriter, record: dict[str, Any], number: int) -> None:
    ids, mark = record["ids"], record["mark"]
    if record["kind"] == "upsert":
        code = np.frombuffer(f"{number:04d}".encode(), np.uint8)
        made = [IndexDocument(id_, f"text {mark}", mark, ("killed",)) for id_ in ids]
        width = width_of(writer.release.vectors)
        vectors = np.full((len(ids), width), number, np.float16) if width else None
        writer.upsert(made, np.tile(code, (len(ids), 1)), vectors)
    elif record["kind"] == "delete":
        writer.delete(ids=ids)
    else:
        writer.compact()


@contextmanager
def filling(disk: SmallDisk, seed: int) -> Iterator[None]:
    """Fill the disk to a random page and empty it again, over and over, for as long as the block lasts."""
    rng, stop = random.Random(seed), threading.Event()

    def fill() -> None:
        while not stop.wait(rng.uniform(0, 0.1)):
            with suppress(OSError):  # the writer took some of it meanwhile
                disk.fill(rng.choice([0, 0, 1, 2, 4, 8, 16, 32]))
            stop.wait(rng.uniform(0, 0.1))
            disk.empty()

    with ThreadPoolExecutor(1) as pool:
        filled = pool.submit(fill)
        try:
            yield
        finally:
            stop.set()
            filled.result()
            disk.empty()


def check_after_kill(home: StateDir, seed: int, disk: SmallDisk | None = None) -> Counter[str]:
    """One round: start a writer, kill it at a random moment, open what it left.

    Args:
        home: State directory.
        seed: What is written, and when the writer is killed.
        disk: Disk of its own on which the state directory is, to be filled and emptied meanwhile; None: it is not.

    Returns:
        How many writes were ``done`` and ``refused``.
    """
    with filling(disk, seed) if disk else nullcontext():
        return _check_after_kill(home, seed)


def _check_after_kill(home: StateDir, seed: int) -> Counter[str]:
    expected = _marks(home)
    untouched = read_release(home).documents - len(expected)
    command = [sys.executable, "-m", "tests.index.killed_writer", "write", str(home.root), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as process:
        assert process.stdout is not None
        opened = process.stdout.readline()
        time.sleep(random.Random(seed).uniform(0, _LONGEST_S))
        process.kill()
        lines = [json.loads(line) for line in process.stdout.read().splitlines() if line.endswith("}")]
    assert json.loads(opened) == {"event": "open"}
    pending: dict[str, Any] | None = None
    for line in lines:
        pending = line if line["event"] == "begin" else None
        if line["event"] == "done":
            _apply(expected, line)
    found = _marks(home)
    if found != expected and pending is not None:  # killed after the write was durable and before it was said
        _apply(expected, pending)
    assert found == expected, f"seed {seed}: {set(found.items()) ^ set(expected.items())}"
    with _opened(home) as writer:  # the next writer finds it whole
        assert _marks(home) == expected
        assert writer.release.documents == untouched + len(expected)
    return Counter(line["event"] for line in lines)


def _apply(state: dict[str, str], record: dict[str, Any]) -> None:
    for id_ in record["ids"]:
        if record["kind"] == "upsert":
            state[id_] = record["mark"]
        elif record["kind"] == "delete":
            state.pop(id_, None)


def _marks(home: StateDir) -> dict[str, str]:
    """The mark of every document that such a writer wrote; its code and its vector have to be of the same write."""
    found: dict[str, str] = {}
    for shard in open_release(home).shards:
        hits = shard.search(np.zeros((1, shard.manifest.bits // 8), np.uint8), 1 << 20, where=Labels(("killed",)))
        for row in shard.documents(hits.numbers[0], ["title", "text", "code"]):
            assert row["text"] == f"text {row['title']}"
            assert row["code"] == f"{int(row['title'].split('.')[1]):04d}".encode()
            found[row["id"]] = row["title"]
        if shard.manifest.vectors is not None:
            vectors = shard.vectors(hits.numbers[0])
            written = [row["title"].split(".")[1] for row in shard.documents(hits.numbers[0], ["title"])]
            assert np.array_equal(vectors, np.tile(np.array(written, np.float16)[:, None], vectors.shape[1:]))
    return found


def main() -> None:
    command, home, number = sys.argv[1:]
    if command == "write":
        write(StateDir(Path(home)), int(number))
    else:
        disk = SmallDisk(_mount(Path(home))) if command == "full" else None
        for seed in range(int(number)):
            counts = check_after_kill(StateDir(Path(home)), seed, disk)
            print(f"round {seed}: {counts['done']} writes acknowledged, all there; {counts['refused']} refused")


def _mount(path: Path) -> Path:
    """Where the disk of a directory is mounted; one that is large has not to be filled."""
    place = next(place for place in (path.absolute(), *path.absolute().parents) if place.is_mount())
    if shutil.disk_usage(place).total > _LARGEST_DISK:
        raise SystemExit(f"{place} is large: mount a small disk first, as with mount -t tmpfs -o size=64m tmpfs DIR")
    return place


if __name__ == "__main__":
    main()
