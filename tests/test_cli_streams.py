"""Standard streams that are closed, full or cut off: one line, no traceback, and no file in their place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from texthash.cli.running import run_app
from texthash.config import TrackingConfig
from texthash.paths import StateDir
from texthash.tracking import Tracker


def _run(command: str, home: Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TEXTHASH_HOME": str(home), "texthash": f"{sys.executable} -m texthash"}
    words = ["bash", "-c", command]
    return subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("arguments", "unbuffered"), [("methods --json", ""), ("--version", "1"), ("--version", "")])
def test_a_full_output_is_an_error(
    arguments: str, unbuffered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    done = _run(f"$texthash {arguments} > /dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: the standard output cannot be written: No space left on device.",
        "  remedy: make room where it goes, or send it elsewhere.",
    ]


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_like_none(closed: str, tmp_path: Path) -> None:
    done = _run(f"$texthash methods {closed}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("nash" in done.stdout) == (">&-" not in closed.replace("2>&-", ""))


def test_nothing_that_is_printed_goes_into_a_file_of_the_program(tmp_path: Path) -> None:
    script = (
        "import os, sys; from texthash.cli.streams import open_closed_streams; open_closed_streams();"
        f"file = open({str(tmp_path / 'made')!r}, 'w'); os.write(1, b'printed'); print('printed'); file.close()"
    )
    assert _run(f'{sys.executable} -c "{script}" >&-', tmp_path).returncode == 0
    assert (tmp_path / "made").read_text() == ""


def test_a_reader_that_leaves_ends_the_command_in_silence(tmp_path: Path) -> None:
    done = _run("$texthash methods --json | head -c 1; echo ${PIPESTATUS[0]}", tmp_path)
    assert done.stdout.splitlines()[0][0] == "["
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["evaluate latest", "index info"])
def test_a_working_directory_that_is_gone_is_named(command: str, tmp_path: Path) -> None:
    done = _run(f"mkdir gone; cd gone; rmdir ../gone; $texthash {command}", tmp_path, tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: the working directory does not exist any more.",
        "  remedy: change to another directory.",
    ]


def test_ctrl_c_while_the_commands_are_imported_shows_no_traceback(tmp_path: Path) -> None:
    """It does not come from a terminal here, but from the first module of the commands, in its place."""
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    done = _run(f"PYTHONPATH={tmp_path}:$PYTHONPATH $texthash --version", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_run_of_a_command_in_order(number: signal.Signals, tmp_path: Path) -> None:
    tracker = Tracker(TrackingConfig(), StateDir(tmp_path))
    runs, app = [], typer.Typer()
    before = signal.signal(number, signal.SIG_DFL)  # under nohup SIGHUP is ignored

    @app.command()
    def command() -> None:
        with tracker.start("a run") as run:
            runs.append(run)
            try:
                os.kill(os.getpid(), number)
                signal.pause()
            finally:
                os.kill(os.getpid(), number)  # a second one does not disturb the end

    try:
        assert run_app(app, []) == 128 + number
    finally:
        signal.signal(number, before)
    assert runs[0].status == "KILLED"
