"""Compiled kernels are kept, and compiled anew when any file of their room has changed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import texthash

# Of the kernels that call a helper in another file, these take least time to compile.
DISTANCES = """
import numpy as np
from texthash.hamming import kernels

codes = np.arange(64 * 8, dtype=np.uint8).reshape(64, 8)
print(kernels.distances(codes[:2], codes).tolist())
"""


def run(program: str, root: Path, cache: Path, variable: str = "NUMBA_CACHE_DIR") -> str:
    """What a program prints that imports the package from ``root`` and keeps its kernels in ``cache``."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("NUMBA_CACHE_DIR", "TEXTHASH_CACHE")}
    environment = inherited | {"PYTHONPATH": str(root), variable: str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=root, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with a copy of the package, to change."""
    shutil.copytree(Path(texthash.__file__).parent, tmp_path / "texthash", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_change_in_a_helper_file_reaches_the_kernels_that_call_it(package: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before = run(DISTANCES, package, cache)
    kept = {path.name: path.stat().st_mtime_ns for path in cache.rglob("*.nbc")}
    assert kept, "what was compiled is kept"
    assert run(DISTANCES, package, cache) == before
    assert {path.name: path.stat().st_mtime_ns for path in cache.rglob("*.nbc")} == kept, "and used again"

    helper = package / "texthash" / "hamming" / "_simd.py"
    text = helper.read_text(encoding="utf-8")
    changed = text.replace("builder.xor(", "builder.or_(")
    assert changed != text
    helper.write_text(changed, encoding="utf-8")
    after = run(DISTANCES, package, cache)
    assert after != before
    helper.write_text(text, encoding="utf-8")
    assert run(DISTANCES, package, cache) == before


def test_a_read_only_installation_keeps_its_kernels_in_the_cache_of_the_node(package: Path, tmp_path: Path) -> None:
    for room in (package / "texthash").rglob("*.py"):
        if not (room.parent / "__pycache__").exists():
            (room.parent / "__pycache__").write_text("no directory")  # which root could write to all the same
    cache = tmp_path / "node"
    assert run(DISTANCES, package, cache, "TEXTHASH_CACHE")
    assert list((cache / "numba").rglob("*.nbc"))
    nowhere = tmp_path / "nowhere"
    nowhere.write_text("no directory either")
    assert run(DISTANCES, package, nowhere / "cache", "TEXTHASH_CACHE"), "then they are compiled and not kept"
