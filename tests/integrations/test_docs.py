"""The example of each page about another library runs, and each library has a page and an extra."""

from __future__ import annotations

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
def test_the_example_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With no names but its own, in this process: most of the time of one of its own would be that of imports."""
    module = PAGES[page].module
    pytest.importorskip(module, reason=f"{module} is not installed")
    monkeypatch.chdir(tmp_path)
    exec(compile(example_of(page), f"{page}.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out
