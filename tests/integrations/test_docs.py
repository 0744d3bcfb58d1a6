"""The example of each page about another library runs, and each library has a page and an extra."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {
    "langchain": "langchain_core",
    "llamaindex": "llama_index.core",
    "haystack": "haystack",
    "sentence_transformers": "torch",
    "mteb": "mteb",
    "hub": "huggingface_hub",
    "engines": "duckdb",
}
"""Page of each library, and the module that its example imports."""
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


@pytest.mark.parametrize(("page", "module"), PAGES.items(), ids=PAGES)
def test_the_example_runs(page: str, module: str, tmp_path: Path) -> None:
    pytest.importorskip(module, reason=f"{module} is not installed")
    text = (ROOT / "docs" / "integrations" / f"{page}.md").read_text(encoding="utf-8")
    (example, *_) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HAYSTACK_TELEMETRY_ENABLED": "False"}
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
