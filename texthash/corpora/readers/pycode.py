"""``pycode``: functions of the installed Python packages with their descriptions as queries. No download.

The pair form of ``pydoc``, built like CodeSearchNet (Husain et al., 2019): a document is the source of a function
without its documentation string, and the query that it answers is the first paragraph of that string. Left out are
paragraphs of fewer than 8 words, functions with fewer than 3 lines after the string, tests and special methods; equal
sources, or equal paragraphs, count once. The label is package and first submodule (``scipy.stats``).

The corpus gives no split: ``corpus.edition.split`` divides it by seed. Its content depends on the installed packages,
so metrics are comparable only within one environment, which the manifest's checksum identifies.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Collection, Iterator
from pathlib import Path

from texthash.config import CorpusConfig
from texthash.corpora.corpus_record import CorpusRecord
from texthash.corpora.document import Document
from texthash.corpora.readers.installed import (
    documented,
    is_unicode,
    label_of,
    module_of,
    package_folders,
    python_files,
    syntax_tree,
    triple_quoted,
    uncollected,
)
from texthash.errors import CorpusError
from texthash.paths import StateDir
from texthash.progress import track

MIN_WORDS = 8
MIN_LINES = 3
Function = ast.FunctionDef | ast.AsyncFunctionDef
record = CorpusRecord(
    name="pycode",
    title="Functions of the installed Python packages, and what they say they do",
    documents=None,
    labels=None,
    multi_label=False,
    licence="of each package",
    source="the packages installed beside texthash",
    citation="made as CodeSearchNet: Husain et al., CodeSearchNet Challenge, arXiv 1909.09436, 2019",
    embedded=True,
    pairs=True,
)


def files(config: CorpusConfig, home: StateDir) -> list[Path]:
    """Return no files: installed packages are not recorded as source files."""
    return []


def read(config: CorpusConfig, home: StateDir) -> Iterator[Document]:
    """Yield all documents, by package, file and position in the file."""
    return documents_in(package_folders())


def documents_in(folders: list[Path], packages: Collection[str] | None = None) -> Iterator[Document]:
    """Yield the functions of the packages in folders, in the order of the files.

    Args:
        folders: Folders that contain packages.
        packages: Names of the packages to read; None: all.

    Raises:
        CorpusError: No function is documented.
    """
    sources = [(folder, path) for folder in folders for path in python_files(folder, packages)]
    seen: set[str] = set()
    found = 0
    with uncollected():
        for folder, path in track(sources, "reading packages"):
            for document in _documents(folder, path):
                keys = {document.text, *document.queries}
                if seen.isdisjoint(keys):
                    seen |= keys
                    found += 1
                    yield document
    if not found:
        raise CorpusError(
            f"no function in {', '.join(map(str, folders))} has a description of {MIN_WORDS} words.",
            "install texthash into an environment with its dependencies, or choose another corpus.",
        )


def _documents(folder: Path, path: Path) -> Iterator[Document]:
    module = ".".join(module_of(folder, path))
    source = path.read_bytes()
    if "test" in module or not triple_quoted(source) or (tree := syntax_tree(source)) is None:
        return
    lines = source.splitlines(keepends=True)
    for number, (name, node) in enumerate(documented(tree)):
        if not isinstance(node, Function) or "test" in node.name.lower() or node.name.startswith("__"):
            continue
        description = (ast.get_docstring(node) or "").strip().partition("\n\n")[0]
        if len(description.split()) < MIN_WORDS or not is_unicode(description) or _lines_of_body(node) < MIN_LINES:
            continue
        code = _without_documentation(node, lines)
        if code is None:
            continue
        yield Document(
            f"{module}:{name}:{number}",
            code,
            (label_of(folder, path),),
            title=f"{module}.{name}",
            origin=f"{path}:{node.lineno}",
            queries=(" ".join(description.split()),),
        )


def _lines_of_body(node: Function) -> int:
    """Return the number of lines after the documentation string of a function."""
    return 0 if len(node.body) == 1 else (node.end_lineno or 0) - node.body[1].lineno + 1


def _without_documentation(node: Function, lines: list[bytes]) -> str | None:
    """Return the source of a function from its decorators to its end, without its documentation string.

    None if the file is not UTF-8, since columns of the syntax tree count bytes of UTF-8.
    """
    first = min(part.lineno for part in (node, *node.decorator_list)) - 1
    string = node.body[0]
    last = string.end_lineno or string.lineno
    before = [*lines[first : string.lineno - 1], lines[string.lineno - 1][: string.col_offset].rstrip(b" \t")]
    after = [lines[last - 1][string.end_col_offset :].lstrip(b" \t;\r\n"), *lines[last : node.end_lineno]]
    try:
        return textwrap.dedent(b"".join(before + after).decode()).strip()
    except UnicodeDecodeError:
        return None
