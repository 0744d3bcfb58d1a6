"""Pages of the documentation about other libraries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Page(NamedTuple):
    """What a page's example needs: the module of the library that it imports, and the extra that the page installs."""

    module: str
    extra: str


PAGES = {
    "langchain": Page("langchain_core", "langchain"),
    "llamaindex": Page("llama_index.core", "llamaindex"),
    "haystack": Page("haystack", "haystack"),
    "sentence_transformers": Page("torch", "sentencetransformers"),
    "mteb": Page("mteb", "mteb"),
    "hub": Page("huggingface_hub", "hub"),
    "engines": Page("duckdb", "duckdb"),
}


def text_of(page: str) -> str:
    return (ROOT / "docs" / "integrations" / f"{page}.md").read_text(encoding="utf-8")


def example_of(page: str) -> str:
    """Return the Python of a page, which has one example."""
    (example, *_) = re.findall(r"^```python\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)
    return example
