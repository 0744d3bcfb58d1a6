"""Importing the package is light, and so is each of its first rooms."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "ray", "mlflow", "pandas", "sklearn", "matplotlib", "numba")


@pytest.mark.parametrize("module", ["texthash", "texthash.config", "texthash.paths", "texthash.progress"])
def test_nothing_heavy_is_imported(module):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
