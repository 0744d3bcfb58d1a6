"""The documentation builds without a warning, and what it shows runs."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from texthash import __version__
from texthash.errors import UsageError

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))
_SLOW = ("compare_methods",)
_PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_the_site_builds_and_warnings_are_errors(tmp_path):
    pytest.importorskip("material", reason="the extra docs is not installed")
    subprocess.run([sys.executable, "pipelines/readme.py"], cwd=ROOT, check=True, capture_output=True)
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "methods" / "nash" / "index.html").read_text(encoding="utf-8")
    assert "Hyper-parameters" in page
    assert "learning_rate" in page


_PAGES = ["README.md", "docs/index.md", "docs/own_corpus.md", "docs/own_vectors.md", "docs/filtering.md"]


@pytest.mark.parametrize("page", _PAGES)
def test_the_first_lines_run(page, tmp_path, monkeypatch):
    """With no names but their own, in this process: most of the time of one of their own would be that of imports."""
    lines = _PYTHON.findall((ROOT / page).read_text(encoding="utf-8"))[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(lines, page, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in _SLOW), id=path.stem) for path in NOTEBOOKS]
)
def test_notebooks_run(path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds.count("code") >= 3


def test_images_have_the_version_in_the_docs_that_they_have_in_the_manifests():
    places = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.yaml"), ROOT / "deploy" / "Dockerfile"]
    named = re.findall(r"texthash:(\d[\w.]*\d)|newTag: (\S+)", "\n".join(path.read_text("utf-8") for path in places))
    assert {one or other for one, other in named} == {__version__}


def test_readme_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
    assert NOTEBOOKS


def test_the_method_of_the_tutorial_trains(small_corpus, tmp_path, monkeypatch):
    from texthash.config import TrainingConfig
    from texthash.training.loop import fit

    code, its_test = _PYTHON.findall((ROOT / "docs" / "add_a_method.md").read_text(encoding="utf-8"))
    (tmp_path / "linear_of_the_tutorial.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    method = importlib.import_module("linear_of_the_tutorial").Linear(small_corpus.shape, 16)
    result = fit(method, small_corpus.train, TrainingConfig(epochs=3))
    first, *_, last = [report.terms["reconstruction"] for report in result.history]
    assert last < first
    made = {"linear": type(method)}
    monkeypatch.setattr("texthash.methods.registry.build", lambda name, shape, bits: made[name](shape, bits))
    shown: dict[str, Any] = {}
    exec(its_test, shown)
    shown["test_without_weights_all_words_are_equally_likely"](small_corpus)
    with pytest.raises(UsageError, match="learning_rate"):
        type(method)(small_corpus.shape, 16, learning_rate=-1.0)
