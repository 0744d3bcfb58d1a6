"""Memory of a measured program by process, and beside that of another."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import psutil
import pytest

from tests.pipelines.programs import ROOT

BYTES = 30_000_000
HOLD = f"import sys; held = b'x' * {BYTES}; print(len(held), flush=True); sys.stdin.read()"


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the benchmarks."""
    monkeypatch.syspath_prepend(str(ROOT / "pipelines"))
    return importlib.import_module("benchmarks.programs")


@pytest.mark.skipif(sys.platform != "linux", reason="proportional shares of pages are known on Linux only")
@pytest.mark.parametrize("kind", ["pss", "uss"])
def test_memory_of_children_of_one_name_is_added_and_one_can_be_left_out(programs: Any, kind: str) -> None:
    pipe = subprocess.PIPE
    children = [subprocess.Popen([sys.executable, "-c", HOLD], stdin=pipe, stdout=pipe) for _ in range(2)]
    try:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        name = sys.executable.rpartition("/")[2]
        both, one = (
            programs.memory_of(psutil.Process(), kind=kind, without=without) for without in (None, children[0].pid)
        )
    finally:
        for child in children:
            child.communicate()
    assert both["program"] > 0
    assert both[name] >= one[name] + BYTES / 1e6
    assert one[name] >= BYTES / 1e6


def test_rows_are_ordered_by_size_and_end_with_the_sum(programs: Any) -> None:
    rows = programs.beside({"program": 20.4, "ingress": 100.2}, {"program": 30.0, "raylet": 5.0})
    assert rows == [
        {"process": "ingress", "pss_mb": 100, "empty_serve_mb": None},
        {"process": "program", "pss_mb": 20, "empty_serve_mb": 30},
        {"process": "raylet", "pss_mb": None, "empty_serve_mb": 5},
        {"process": "all", "pss_mb": 121, "empty_serve_mb": 35},
    ]
