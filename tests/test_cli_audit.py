"""Audit lines of commands that write to an index without a service."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_cli_index import home as home
from tests.test_cli_index import rows
from texthash.index.releases.release import read_release
from texthash.io.audit import FILE
from texthash.paths import StateDir


def test_every_command_that_writes_leaves_a_line(
    home: StateDir, tmp_path: Path, run_cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTHASH_HOME", str(home.root))
    before, backup, codes = read_release(home).documents, tmp_path / "backup", tmp_path / "codes.parquet"
    file = rows(tmp_path / "more.jsonl", {"id": "secret-id", "text": "a sparse matrix", "title": "secret title"})
    after = before + 1
    expected = [
        ("index", "snapshot", "all"),
        ("index", "upsert", file),
        ("index", "export", str(codes)),  # which writes nothing to the index
        ("index", "delete", "secret-id"),
        ("index", "import", str(codes), "--yes"),
        ("index", "compact"),
        ("index", "add-keywords"),
        ("index", "backup", str(backup)),
        ("index", "restore-backup", str(backup)),
        ("index", "rollback"),
        ("index", "restore", "all"),
        ("index", "drop-snapshot", "all"),
        ("index", "drop-snapshot", "all"),
    ]
    for command in expected:
        run_cli(*command)
    text = (home.root / FILE).read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["operation"], line.get("documents"), line["outcome"]) for line in lines] == [
        ("take_snapshot", None, "done"),
        ("upsert", 1, "done"),
        ("delete", 1, "done"),
        ("import", after, "done"),
        ("compact", after, "done"),
        ("add_keywords", after, "done"),
        ("backup", after, "done"),
        ("restore_backup", after, "done"),
        ("rollback", after, "done"),
        ("restore_snapshot", before, "done"),
        ("drop_snapshot", None, "done"),
        ("drop_snapshot", None, "failed"),
    ]
    assert lines[6]["target"] == lines[7]["source"] == str(backup)
    assert lines[9]["snapshot"] == "all"
    assert all(line["user"] and line["time"] for line in lines)
    assert "secret" not in text
