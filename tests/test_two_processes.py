"""Two programs that work in one state directory at the same time, from its very beginning."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.programs import Program
from texthash.paths import StateDir

Start = Callable[..., Program]
TRAIN = ("train", "itq", "--bits", "16")
LONG = ("train", "nash", "--bits", "16", "training.epochs=400", "training.validate_every=400")


@pytest.fixture
def start(tmp_path: Path, small_rows: Path) -> Iterator[Start]:
    """Starts ``texthash`` in a state directory of the test's own, which is not there yet."""
    started: list[Program] = []
    environment = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "TEXTHASH_DATA")}
    environment |= {"TEXTHASH_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    corpus = ("corpus.name=small", f"corpus.path={small_rows}", "corpus.edition.vocabulary_size=2000")

    def begin(*words: str) -> Program:
        started.append(Program((*words, *corpus), environment, tmp_path / f"program-{len(started)}"))
        return started[-1]

    yield begin
    for program in started:
        program.kill()


@pytest.mark.parametrize("attempt", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_two_trainings_in_a_fresh_state_directory(start: Start, tmp_path: Path, attempt: int) -> None:
    """Each makes the directory, prepares the corpus, makes the schema of the tracking store and its experiment once."""
    programs = [start(*TRAIN, f"training.seed={seed}") for seed in (1, 2)]
    assert [program.wait() for program in programs] == [0, 0], [program.said for program in programs]
    models = {json.loads(program.printed)["model"] for program in programs}
    assert len(models) == 2
    assert all((Path(model) / "hasher" / "hasher.json").is_file() for model in models)
    assert (tmp_path / "home").stat().st_mode & 0o077 == 0, "closed to others"


def test_the_same_training_twice_is_refused_and_the_first_is_named(start: Start, tmp_path: Path) -> None:
    first = start(*LONG)
    checkpoints = tmp_path / "home" / "runs" / "checkpoints"
    give_up = time.monotonic() + 300
    while not list(checkpoints.glob("*/checkpoint.pt")):
        assert first.runs, first.said
        assert time.monotonic() < give_up
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGSTOP)  # it lives, and leaves the processor to the others
    second = start(*LONG)
    assert second.wait() == 1, second.said
    assert f"is being done by process {first.pid} on " in second.said
    assert "remedy: wait until it ends" in second.said
    assert "Traceback" not in second.said
    assert first.runs, "the first one lives on"
    first.kill()
    third = start(*LONG)
    while third.runs and "/400" not in third.said:
        time.sleep(0.1)
    assert "/400" in third.said  # the lock of the dead one is free


def test_a_state_directory_that_was_made_by_the_person_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    (tmp_path / "home").chmod(0o755)
    StateDir(tmp_path / "home").make()
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o755
