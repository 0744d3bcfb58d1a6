"""The wheel in an environment of its own, used from an empty folder: nothing of the checkout is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import texthash

ROOT = Path(__file__).resolve().parents[2]
README_LINES = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of a fresh environment that has the wheel, and sees the other packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.check_output([python, "-c", purelib], text=True).strip())
    words = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Only now, so that pip does not take an installed texthash for one that is there. Its .pth files are not followed.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin"


def run(folder: Path, *words: str | Path) -> str:
    """Standard output of a program that is started in an empty folder without the checkout on its path."""
    folder.mkdir(exist_ok=True)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    clean["TEXTHASH_HOME"] = str(folder / "home")
    done = subprocess.run(words, cwd=folder, env=clean, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_everything_that_is_read_at_run_time(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {f"texthash/configs/{path.relative_to(ROOT / 'configs')}" for path in (ROOT / "configs").rglob("*.*")}
    assert len(configs) > 20
    page = {f"service/page/{name}" for name in ("index.html", "style.css", "search.js", "hits.js", "markup.js")}
    others = page | {"py.typed", "service/search.proto", "reporting/report.html.jinja", "reporting/report.md.jinja"}
    assert configs | {f"texthash/{name}" for name in others} <= names


def test_commands_run_from_an_empty_folder(environment: Path, tmp_path: Path) -> None:
    assert run(tmp_path / "empty", environment / "texthash", "--version").split()[-1] == texthash.__version__
    listed = json.loads(run(tmp_path / "empty", environment / "texthash", "methods", "--json"))
    assert len(listed) >= 20


def test_the_readme_trains_and_encodes(environment: Path, tmp_path: Path) -> None:
    """Its lines but the last, a search, whose kernels are compiled anew in each environment."""
    assert README_LINES
    lines = README_LINES[1].strip().splitlines()
    ending = "import json; print(json.dumps([texthash.__file__, model.encode(['sort numbers']).shape]))"
    output = run(tmp_path / "empty", environment / "python", "-c", "\n".join([*lines[:-1], ending]))
    file, shape = json.loads(output.splitlines()[-1])
    assert Path(file).is_relative_to(environment.parent)
    assert shape == [1, 4]


@pytest.mark.slow
def test_the_lines_of_the_readme_run(environment: Path, tmp_path: Path) -> None:
    assert README_LINES
    ending = """
import json
found = texthash.Index(model, texts).search("sort an array", k=2)
print(json.dumps([texthash.__file__, model.encode(["sort numbers"]).shape, list(found.texts)]))
"""
    output = run(tmp_path / "empty", environment / "python", "-c", README_LINES[1] + ending)
    file, shape, found = json.loads(output.splitlines()[-1])
    assert Path(file).is_relative_to(environment.parent)
    assert shape == [1, 4]
    assert found[0] == "sort an array"


def test_a_shipped_configuration_is_found_by_its_name(environment: Path, tmp_path: Path) -> None:
    script = """
import json, texthash.config as config
names = "quickstart.yaml", "configs/quickstart.yaml", "own-corpus.yaml"
print(json.dumps([str(config.find_config(name)) for name in names] + [config.load_config(names[0]).corpus.name]))
"""
    *found, corpus = json.loads(run(tmp_path / "empty", environment / "python", "-c", script))
    assert all(Path(path).is_relative_to(environment.parent) for path in found)
    assert [Path(path).name for path in found] == ["quickstart.yaml", "quickstart.yaml", "own-corpus.yaml"]
    assert corpus == texthash.config.load_config(ROOT / "configs" / "quickstart.yaml").corpus.name
