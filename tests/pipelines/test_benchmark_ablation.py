"""The benchmark of an ablation: one row for each change, measured at every width up to the model's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

PROGRAM = Path(__file__).parents[2] / "pipelines" / "benchmark.py"


def test_each_change_is_a_row_with_the_widths_of_its_prefixes(small_config, tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump({"corpus": small_config.model_dump(mode="json")}))
    changes = ["--change", "none", "--change", "agreement=0.0 epochs=2"]
    ended = subprocess.run(
        [sys.executable, PROGRAM, "ablation", "--config", config, "--bits", "32", *changes, "--json", "-"],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "TEXTHASH_HOME": str(tmp_path)},
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    first, second = json.loads(ended.stdout)["rows"]
    assert (first["change"], second["change"], second["epochs"]) == ("none", "agreement=0.0 epochs=2", 2)
    for row in (first, second):
        assert 0 < row["p@100, 16"] < 1
        assert 0 < row["p@100, 32"] < 1
