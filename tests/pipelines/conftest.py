"""Programs of the tables as modules, whose files are in a place of their own."""

from __future__ import annotations

import pytest

from tests.pipelines.programs import program


@pytest.fixture
def reproduce(monkeypatch, tmp_path):
    """The program of the tables, its results in a place of its own."""
    module = program("reproduce", monkeypatch)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results.csv")
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "home"))
    return module
