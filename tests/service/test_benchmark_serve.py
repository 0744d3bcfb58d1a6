"""The serve benchmark as a program, with the engine that needs no cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.service.conftest import Program
from texthash.paths import StateDir


def test_rows_of_the_peer(released: StateDir, benchmark_of: Program, tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    options = ["--engine", "fastapi_faiss", "--clients", "1", "--clients", "4", "--seconds", "0.5"]
    options += ["--documents", "5000"]
    done = benchmark_of(released, "serve", *options, "--json", tmp_path / "serve.json")
    assert done.returncode == 0, done.stderr
    assert "5,000 documents" in done.stdout + done.stderr
    rows = json.loads((tmp_path / "serve.json").read_text())["rows"]
    assert [(row["engine"], row["clients"]) for row in rows] == [("fastapi_faiss", 1), ("fastapi_faiss", 4)]
    assert all(row["requests_per_s"] > 0 and row["p50_ms"] <= row["p99_ms"] and row["errors"] == 0 for row in rows)
