"""Faults: a writer is killed at a random moment; nothing that it acknowledged may be lost, nothing half-done be seen.

python -m tests.index.killed_writer write HOME SEED      write until killed, a line for each acknowledged write
python -m tests.index.killed_writer rounds HOME COUNT    so many rounds over one index, which goes on growing
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from texthash.index.releases.release import open_release, read_release
from texthash.index.storage.shard_format import width_of
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.paths import Home

_ROOT = Path(__file__).parents[2]
_IDS = 60
_LONGEST_S = 1.2


def write(home: Home, seed: int) -> None:
    """Upsert and delete sets of documents for ever. Every document of a set carries the number of its write as title,
    in its code and in its vector, if the index keeps some, so that half a write would show. An intention is printed
    before a write, the fact after it."""
    rng = random.Random(seed)
    with IndexWriter.open(home) as writer:
        print(json.dumps({"event": "open"}), flush=True)
        for number in range(1 << 20):
            ids = sorted(f"id{i}" for i in rng.sample(range(_IDS), rng.randint(1, 30)))
            kind = rng.choice(["upsert", "upsert", "upsert", "delete", "compact"])
            record = {"kind": kind, "ids": ids, "mark": f"{seed}.{number}"}
            print(json.dumps({"event": "begin", **record}), flush=True)
            if kind == "upsert":
                code = np.frombuffer(f"{number:04d}".encode(), np.uint8)
                made = [IndexDocument(id_, f"text {record['mark']}", record["mark"], ("killed",)) for id_ in ids]
                width = width_of(writer.release.vectors)
                vectors = np.full((len(ids), width), number, np.float16) if width else None
                writer.upsert(made, np.tile(code, (len(ids), 1)), vectors)
            elif kind == "delete":
                writer.delete(ids=ids)
            else:
                writer.compact()
            print(json.dumps({"event": "done", **record}), flush=True)


def check_after_kill(home: Home, seed: int) -> int:
    """One round: start a writer, kill it at a random moment, open what it left. Returns the acknowledged writes."""
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
    done = 0
    for line in lines:
        if line["event"] == "begin":
            pending = line
        else:
            _apply(expected, line)
            pending, done = None, done + 1
    found = _marks(home)
    if found != expected and pending is not None:  # killed after the write was durable and before it was said
        _apply(expected, pending)
    assert found == expected, f"seed {seed}: {set(found.items()) ^ set(expected.items())}"
    with IndexWriter.open(home) as writer:  # the next writer finds it whole, and can write
        assert _marks(home) == expected
        assert writer.release.documents == untouched + len(expected)
    return done


def _apply(state: dict[str, str], record: dict[str, Any]) -> None:
    for id_ in record["ids"]:
        if record["kind"] == "upsert":
            state[id_] = record["mark"]
        elif record["kind"] == "delete":
            state.pop(id_, None)


def _marks(home: Home) -> dict[str, str]:
    """The mark of every document that such a writer wrote; its code and its vector have to be of the same write."""
    found: dict[str, str] = {}
    for shard in open_release(home).shards:
        hits = shard.search(np.zeros((1, shard.manifest.bits // 8), np.uint8), 1 << 20, labels=["killed"])
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
        write(Home(Path(home)), int(number))
    else:
        for seed in range(int(number)):
            done = check_after_kill(Home(Path(home)), seed)
            print(f"round {seed}: {done} writes acknowledged, all there")


if __name__ == "__main__":
    main()
