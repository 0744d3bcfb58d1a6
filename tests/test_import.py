"""Importing the package is light, and so is each of its first rooms."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import lance
import pytest

HEAVY = ("torch", "ray", "mlflow", "pandas", "sklearn", "matplotlib", "numba")


@pytest.mark.parametrize("module", ["texthash", "texthash.config", "texthash.paths", "texthash.progress"])
def test_nothing_heavy_is_imported(module):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_private_call_of_lance():
    """Lance marks them as unstable; what is public is kept between versions."""
    root = Path(__file__).parents[1]
    private = {f".{name}(" for name in dir(lance.LanceDataset) if name.startswith("_") and not name.startswith("__")}
    assert "._take_rows(" in private
    found = [path for folder in ("texthash", "pipelines") for path in (root / folder).rglob("*.py")]
    text = {path: path.read_text(encoding="utf-8") for path in found}
    users = [path for path in found if "lance" in text[path]]
    assert len(users) > 10
    assert [path.name for path in users if any(call in text[path] for call in private) or "._ds." in text[path]] == []
