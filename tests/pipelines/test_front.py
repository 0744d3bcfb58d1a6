"""The picture of quality against bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "pipelines" / "front.py"


def row(name: str, size: float, quality: float) -> dict[str, object]:
    return {"row": name, "bytes_per_document": size, "metrics": {"ndcg_at_10": {"expected": quality}}}


def test_a_picture_is_drawn_of_the_tables_of_several_studies(tmp_path: Path) -> None:
    rows = {"one": [row("bm25", 400, 0.4), row("itq 128 asymmetric", 16, 0.3)], "two": [row("minilm float", 1536, 0.5)]}
    for study, own in rows.items():
        (tmp_path / study).mkdir()
        (tmp_path / study / "small.json").write_text(json.dumps({"collection": "small", "rows": own}))
    picture = tmp_path / "pictures" / "front.png"
    command = [sys.executable, PROGRAM, tmp_path / "one", tmp_path / "two", "--output", picture]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    assert picture.read_bytes().startswith(b"\x89PNG")
