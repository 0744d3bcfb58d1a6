"""The example of each page about another library, run where nothing but texthash and its extra is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.integrations.pages import PAGES, ROOT, example_of, text_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def install(environment: Path, *words: str) -> None:
    pip = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install", "-q", "--no-compile"]
    done = subprocess.run(
        [*pip, "-c", ROOT / "deploy" / "constraints.txt", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def run(environment: Path, folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    clean |= {"TEXTHASH_HOME": str(folder / "home"), "HAYSTACK_TELEMETRY_ENABLED": "False"}
    command = [environment / "bin" / "python", "-c", source]
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("core") / "environment"
    venv.create(folder, with_pip=False, symlinks=True)
    install(folder, str(wheel))
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_the_example_runs_with_its_extra_alone(page: str, core: Path, wheel: Path, tmp_path: Path) -> None:
    extra = PAGES[page].extra
    assert f"texthash[{extra}]" in text_of(page)
    environment = tmp_path / "environment"
    shutil.copytree(core, environment, symlinks=True, copy_function=os.link)  # of gigabytes, of which few change
    absent = run(environment, tmp_path, "import pytest")
    assert "ModuleNotFoundError" in absent.stderr
    install(environment, f"texthash[{extra}] @ {wheel.as_uri()}")
    done = run(environment, tmp_path, example_of(page))
    assert done.returncode == 0, done.stderr
    assert done.stdout
