"""A test that hangs fails, with the processes it waits for, and the run continues."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
HANGING = """
import subprocess, sys
import pytest

SLEEPER = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); "
           "print('up', flush=True); time.sleep(600)"]


@pytest.fixture(scope="session")
def helper():
    with subprocess.Popen(SLEEPER, stdout=subprocess.PIPE, text=True) as program:
        program.stdout.readline()
        yield program
        program.kill()


def test_hangs_on_a_child(helper, tmp_path_factory):
    with subprocess.Popen(SLEEPER, stdout=subprocess.PIPE, text=True) as program:
        print("child", program.pid)
        program.stdout.read()


def test_what_fixtures_started_is_spared(helper):
    assert helper.poll() is None


@pytest.fixture
def never():
    with subprocess.Popen(SLEEPER, stdout=subprocess.PIPE, text=True) as program:
        print("child", program.pid)
        yield program.stdout.read()


def test_a_fixture_that_hangs(never):
    pass
"""


@pytest.mark.parametrize("ignoring", ["", "INT"])
def test_hanging_tests_fail_and_their_children_end(tmp_path: Path, ignoring: str) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGING)
    script = f"trap '' {ignoring}; exec \"$@\"" if ignoring else 'exec "$@"'
    command = [
        "sh",
        "-c",
        script,
        "sh",
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.time_limits",
        "--timeout=3",
        "-rA",
    ]
    command += ["-rA", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert "1 passed, 1 failed, 1 error" in _sorted_summary(done.stdout), done.stdout
    children = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("child ")]
    assert len(children) == 2
    assert not any(psutil.pid_exists(child) for child in children)


def _sorted_summary(output: str) -> str:
    """The counts of the last line in a fixed order."""
    words = output.splitlines()[-1].strip("= ").split(" in ")[0].split(", ")
    order = ("passed", "failed", "error")
    return ", ".join(sorted(words, key=lambda word: order.index(word.split()[1])))


def test_every_test_of_this_suite_has_a_limit(request: pytest.FixtureRequest) -> None:
    assert float(request.config.getini("timeout")) > 0
