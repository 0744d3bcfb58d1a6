"""``pydoc``: documentation strings of the installed Python packages. Real prose, no download.

A document is the documentation string of a module, class or function with at least 15 words; equal texts count once.
Its label is package and first submodule (``scipy.stats``); only labels with at least 150 documents, and as many
triple-quoted strings, are kept. Source files are parsed with :mod:`ast`, never imported. The content of the corpus
depends on the installed packages, so metrics are comparable only within one environment, which the manifest's checksum
identifies.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
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

MIN_WORDS = 15
MIN_DOCUMENTS = 150
record = CorpusRecord(
    name="pydoc",
    title="Documentation strings of the installed Python packages",
    documents=None,
    labels=None,
    multi_label=False,
    licence="of each package",
    source="the packages installed beside texthash",
    citation="",
    embedded=True,
)


def files(config: CorpusConfig, home: StateDir) -> list[Path]:
    """Return no files: installed packages are not recorded as source files."""
    return []


def read(config: CorpusConfig, home: StateDir) -> Iterator[Document]:
    """Yield all documents, by package, file and position in the file."""
    return documents_in(package_folders())


def documents_in(
    folders: list[Path], min_documents: int = MIN_DOCUMENTS, packages: Collection[str] | None = None
) -> Iterator[Document]:
    """Yield the documents of the packages in folders.

    Args:
        folders: Folders that contain packages.
        min_documents: Minimum number of documents of a label.
        packages: Names of the packages to read; None: all.

    Raises:
        CorpusError: No label has ``min_documents``.
    """
    sources = _promising(folders, min_documents, packages)
    found: dict[str, list[Document]] = defaultdict(list)
    seen: set[str] = set()
    with uncollected():
        for folder, path, label in track(sources, "reading packages"):
            for document in _documents(folder, path, label):
                if document.text not in seen:
                    seen.add(document.text)
                    found[label].append(document)
    kept = sorted(label for label, documents in found.items() if len(documents) >= min_documents)
    if not kept:
        raise CorpusError(
            f"no module in {', '.join(map(str, folders))} has {min_documents} documentation strings.",
            "install texthash into an environment with its dependencies, or choose another corpus.",
        )
    for label in kept:
        yield from found[label]


def _promising(
    folders: list[Path], min_documents: int, packages: Collection[str] | None
) -> list[tuple[Path, Path, str]]:
    """Return the files with triple-quoted strings whose labels may have enough documents, with their labels."""
    sources, strings = [], Counter[str]()
    for folder in folders:
        for path in python_files(folder, packages):
            if count := triple_quoted(path.read_bytes()):
                label = label_of(folder, path)
                sources.append((folder, path, label))
                strings[label] += count
    return [source for source in sources if strings[source[2]] >= min_documents]


def _documents(folder: Path, path: Path, label: str) -> Iterator[Document]:
    tree = syntax_tree(path.read_bytes())
    if tree is None:
        return
    module = ".".join(module_of(folder, path))
    for number, (name, node) in enumerate(documented(tree)):
        text = ast.get_docstring(node)
        if text and len(text.split()) >= MIN_WORDS and is_unicode(text):
            title = f"{module}.{name}" if name else module
            line = getattr(node, "lineno", 1)
            yield Document(f"{module}:{name}:{number}", text, (label,), title=title, origin=f"{path}:{line}")
