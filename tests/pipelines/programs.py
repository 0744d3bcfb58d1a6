"""Programs of pipelines/ as modules, and the files that they read and write."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def program(name, monkeypatch):
    """A program as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "pipelines"))
    spec = importlib.util.spec_from_file_location(name, ROOT / "pipelines" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def rows_of(path):
    """The rows of a CSV file."""
    return list(csv.DictReader(path.open(encoding="utf-8")))
