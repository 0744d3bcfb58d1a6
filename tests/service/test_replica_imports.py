"""What the processes of a service import: nothing that they do not use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from texthash.paths import StateDir

HEAVY = ("torch", "mlflow", "ray.data", "ray.train", "ray.tune", "sklearn", "matplotlib", "optuna", "transformers")
OPEN = """
from texthash.service.placement import LocalShard
from texthash.service.replicas.encoder import LocalEncoder, Texts
import asyncio
encoder, shard = LocalEncoder({home!r}, {release!r}), LocalShard({home!r}, {release!r}, 0, 2**30)
encoded = asyncio.run(encoder.encode(Texts({release!r}, ("sort an array", "plot a figure") * 40, margins=True)))
assert encoded.codes.shape[0] == encoded.margins.shape[0] == 80
"""
LIGHT = """
import sys
from texthash.service.lean_imports import import_arrow, import_serve
import_serve()
import texthash.service.run
assert not {"pandas", "numba", "scipy", "pyarrow.dataset"} & set(sys.modules)  # of the program
import_arrow()
"""


def imported(program: str) -> list[str]:
    """Return which heavy packages a program imports."""
    program += f"\nimport sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    return done.stdout.split()


@pytest.mark.parametrize("module", ["texthash.service.serve_app", "texthash.service.run", "texthash.cli.serving"])
def test_the_processes_of_a_service_import_no_more_than_they_use(module: str) -> None:
    assert imported(f"import {module}") == []


def test_queries_are_encoded_and_searched_without_torch(released: StateDir) -> None:
    assert imported(OPEN.format(home=released.name, release="r000001")) == []


def test_serve_and_arrow_do_without_pandas_which_others_can_import(released: StateDir) -> None:
    program = LIGHT + OPEN.format(home=released.name, release="r000001")
    assert imported(program + "assert 'pandas' not in sys.modules\nimport pandas\npandas.Series([1])") == []


def test_kernels_do_without_scipy_which_others_can_import(released: StateDir) -> None:
    program = "import sys\nfrom texthash.service.lean_imports import import_kernels\nimport_kernels()\n"
    program += "assert 'numba' in sys.modules and not {'scipy', 'cffi'} & set(sys.modules)\n"
    program += OPEN.format(home=released.name, release="r000001")
    assert imported(program + "import scipy.sparse\nscipy.sparse.csr_matrix((2, 2))") == []


@pytest.mark.slow
def test_missing_kernels_are_compiled_by_a_process_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    program = "from texthash.service.lean_imports import import_kernels\nimport_kernels()\n"
    program += "from texthash.hamming._mih import probe\n"
    program += "assert probe.stats.cache_hits and not probe.stats.cache_misses\n"
    assert imported(program) == []
    cached = {path.relative_to(tmp_path).parts[0].partition("-")[0] for path in tmp_path.rglob("*.nbi")}
    assert cached == {"hamming", "keywords"}
