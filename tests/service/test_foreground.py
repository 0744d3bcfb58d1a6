"""How a service ends that lives as long as the program which has started it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

URL = "http://127.0.0.1:1"
PROGRAM = f"""
from texthash.logging import show
from texthash.service.foreground import foreground
show()
with foreground({URL!r}, wait={{wait}}):
    print({URL!r}, flush=True)
print("in order", flush=True)
"""


def _take_signals() -> None:
    """Undo what the tests may have inherited: a job in the background ignores SIGINT, one under nohup SIGHUP."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def _started(wait: bool, ignoring: str = "") -> Iterator[subprocess.Popen[str]]:
    """Start the program by a shell that ignores some signals, as one does for a background job or under nohup."""
    script = f"trap '' {ignoring}; exec \"$@\"" if ignoring else 'exec "$@"'
    command = ["sh", "-c", script, "sh", sys.executable, "-c", PROGRAM.format(wait=wait)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, preexec_fn=_take_signals) as program:
        try:
            yield program
        finally:
            program.kill()  # else a failed test would wait for the program


@pytest.mark.parametrize("ignoring", ["", "INT"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order_and_is_no_error(number: signal.Signals, ignoring: str) -> None:
    with _started(wait=True, ignoring=ignoring) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.readline().strip() == URL
        assert program.stderr.readline().startswith("READY")
        program.send_signal(number)
        rest, said = program.communicate(timeout=30)
    assert (program.returncode, rest) == (0, "in order\n")
    assert said.splitlines()[-1] == "ending"


def test_a_service_under_nohup_outlives_its_terminal() -> None:
    with _started(wait=True, ignoring="HUP") as program:
        assert program.stderr is not None
        assert program.stderr.readline().startswith("READY")
        program.send_signal(signal.SIGHUP)
        program.send_signal(signal.SIGTERM)
        assert program.communicate(timeout=30)[0] == f"{URL}\nin order\n"


def test_a_program_that_waits_says_that_it_is_ready() -> None:
    with _started(wait=True) as program:
        assert program.stderr is not None
        assert program.stderr.readline() == f"READY: search page {URL}/, HTTP API {URL}/docs\n"
        assert "Ctrl-C" in program.stderr.readline()
        program.terminate()
        assert program.wait(timeout=30) == 0


def test_a_service_that_goes_on_by_itself_is_not_waited_for() -> None:
    with _started(wait=False) as program:
        printed, said = program.communicate(timeout=30)
    assert (program.returncode, printed) == (0, f"{URL}\nin order\n")
    assert said.startswith("READY")
    assert "Ctrl-C" not in said


def test_nothing_of_ray_is_imported_before_it_reads_its_settings() -> None:
    script = "import sys, texthash.service.foreground; print('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout.strip() == b"False"
