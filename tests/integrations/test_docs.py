"""The example of each page about another library runs, and each library has a page and an extra."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.integrations.pages import PAGES, ROOT, example_of

EXTRAS = {
    "langchain",
    "llamaindex",
    "haystack",
    "sentencetransformers",
    "mteb",
    "hub",
    "faiss",
    "usearch",
    "duckdb",
    "qdrant",
}


def test_every_library_has_a_page_and_an_extra() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "integrations").glob("*.md")} - {"index"}
    assert pages == set(PAGES)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(EXTRAS) <= set(project["optional-dependencies"])
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [name for name in PAGES if f"integrations/{name}.md" not in navigation] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_example_runs(page: str, tmp_path: Path) -> None:
    module = PAGES[page].module
    pytest.importorskip(module, reason=f"{module} is not installed")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HAYSTACK_TELEMETRY_ENABLED": "False"}
    done = subprocess.run(
        [sys.executable, "-c", example_of(page)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
