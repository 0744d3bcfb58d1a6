"""Programs of pipelines/ as modules, and the files that they read and write."""

from __future__ import annotations

import csv
import importlib.util
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess

import pytest

ROOT = Path(__file__).parents[2]


def program(name, monkeypatch):
    """A program as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "pipelines"))
    spec = importlib.util.spec_from_file_location(name, ROOT / "pipelines" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def run(name, *arguments, home, **variables):
    """Status and output of a program in this process, which has most of what it imports already."""
    out, error = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(error):
        patch.delenv("RAY_ADDRESS", raising=False)
        for variable, value in {"TEXTHASH_HOME": str(home), **variables}.items():
            patch.setenv(variable, value)
        patch.chdir(home)
        patch.syspath_prepend(str(ROOT / "pipelines"))
        patch.delitem(sys.modules, "common", raising=False)  # it keeps the output that was there when it was imported
        patch.setattr(sys, "argv", [f"{name}.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "pipelines" / f"{name}.py"), run_name="__main__")
    return CompletedProcess(sys.argv, ended.value.code or 0, out.getvalue(), error.getvalue())


def rows_of(path):
    """The rows of a CSV file."""
    return list(csv.DictReader(path.open(encoding="utf-8")))
