"""Malformed variables of libraries, which are errors with name, value and remedy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from texthash.config import TrackingConfig
from texthash.errors import UsageError
from texthash.paths import StateDir
from texthash.tracking.store import check_store


@pytest.mark.parametrize("value", ["0", "-3", "abc", "", "1e9"])
@pytest.mark.parametrize("module", ["texthash.hamming.kernels", "texthash.index.keywords._top"])
def test_a_number_of_threads_that_numba_cannot_have_is_named(module: str, value: str) -> None:
    program = f"""
from texthash.errors import UsageError
try:
    import {module}
except UsageError as error:
    print(error)
"""
    environment = {**os.environ, "NUMBA_NUM_THREADS": value}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert f"NUMBA_NUM_THREADS={value!r}" in done.stdout, done.stderr
    assert "remedy: give a whole number of at least 1" in done.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "abc"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1.5"),
        ("MLFLOW_ENABLE_ASYNC_LOGGING", "maybe"),
    ],
)
def test_a_variable_that_mlflow_cannot_read_is_named_before_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"{name}='{value}'.*has a wrong value"):
        check_store(TrackingConfig(), StateDir(tmp_path))


def test_variables_that_mlflow_can_read_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    check_store(TrackingConfig(), StateDir(tmp_path))


def test_a_command_names_it_before_any_work() -> None:
    environment = {**os.environ, "NUMBA_NUM_THREADS": "0"}
    command = [sys.executable, "-m", "texthash", "methods", "list"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "error: the environment variable NUMBA_NUM_THREADS='0'" in done.stderr
