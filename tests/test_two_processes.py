"""Two programs that work in one state directory at the same time, from its very beginning."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from texthash.paths import StateDir

Start = Callable[..., subprocess.Popen[str]]
TRAIN = ("train", "itq", "--bits", "16")
LONG = ("train", "nash", "--bits", "16", "training.epochs=400", "training.validate_every=400")


@pytest.fixture
def start(tmp_path: Path, small_rows: Path) -> Iterator[Start]:
    """Starts ``texthash`` in a state directory of the test's own, which is not there yet."""
    started: list[subprocess.Popen[str]] = []
    environment = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "TEXTHASH_DATA")}
    environment |= {"TEXTHASH_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    corpus = ("corpus.name=small", f"corpus.path={small_rows}", "corpus.edition.vocabulary_size=2000")

    def begin(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "texthash", *words, *corpus]
        program = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(program)
        return program

    yield begin
    for program in started:
        program.kill()
        program.communicate()


@pytest.mark.parametrize("attempt", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_two_trainings_in_a_fresh_state_directory(start: Start, tmp_path: Path, attempt: int) -> None:
    """Each makes the directory, prepares the corpus, makes the schema of the tracking store and its experiment once."""
    programs = [start(*TRAIN, f"training.seed={seed}") for seed in (1, 2)]
    ends = [program.communicate() for program in programs]
    assert [program.returncode for program in programs] == [0, 0], [said for _, said in ends]
    models = {json.loads(printed)["model"] for printed, _ in ends}
    assert len(models) == 2
    assert all((Path(model) / "hasher" / "hasher.json").is_file() for model in models)
    assert (tmp_path / "home").stat().st_mode & 0o077 == 0, "closed to others"


def test_the_same_training_twice_is_refused_and_the_first_is_named(start: Start, tmp_path: Path) -> None:
    first = start(*LONG)
    checkpoints = tmp_path / "home" / "runs" / "checkpoints"
    give_up = time.monotonic() + 300
    while not list(checkpoints.glob("*/checkpoint.pt")):
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.1)
    first.send_signal(signal.SIGSTOP)  # it lives, and leaves the processor to the others
    second = start(*LONG)
    _, said = second.communicate()
    assert second.returncode == 1, said
    assert f"is being done by process {first.pid} on " in said
    assert "remedy: wait until it ends" in said
    assert "Traceback" not in said
    assert first.poll() is None, "the first one lives on"
    first.send_signal(signal.SIGKILL)
    first.communicate()
    third = start(*LONG)
    lines: list[str] = []
    assert third.stderr is not None
    while third.poll() is None and not any("/400" in line for line in lines):
        lines.append(third.stderr.readline())
    assert any("/400" in line for line in lines), "".join(lines)  # the lock of the dead one is free


def test_a_state_directory_that_was_made_by_the_person_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    (tmp_path / "home").chmod(0o755)
    StateDir(tmp_path / "home").make()
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o755
