"""A small real corpus: documentation strings of every object, private or not, of packages that are always installed."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import islice

from texthash.corpora.document import Document
from texthash.corpora.readers.installed import (
    documented,
    is_unicode,
    label_of,
    module_of,
    package_folders,
    python_files,
    syntax_tree,
    uncollected,
)

_FEWEST_WORDS = 15
_FEWEST_DOCUMENTS = 150


def documentation(packages: Collection[str], labels: int, per_label: int) -> list[Document]:
    """Return documents of the first so many labels, at most so many of each; a label is a package and its module."""
    found: dict[str, list[Document]] = defaultdict(list)
    seen: set[str] = set()
    with uncollected():
        for document in _documents(packages):
            if document.text not in seen:
                seen.add(document.text)
                found[document.labels[0]].append(document)
    kept = sorted(label for label, documents in found.items() if len(documents) >= _FEWEST_DOCUMENTS)
    return [document for label in kept[:labels] for document in islice(found[label], per_label)]


def _documents(packages: Collection[str]) -> Iterator[Document]:
    for folder in package_folders():
        for path in python_files(folder, packages):
            tree, module = syntax_tree(path.read_bytes()), ".".join(module_of(folder, path))
            for number, (name, node) in enumerate(documented(tree) if tree is not None else ()):
                text = ast.get_docstring(node)
                if text and len(text.split()) >= _FEWEST_WORDS and is_unicode(text):
                    title = f"{module}.{name}" if name else module
                    yield Document(f"{module}:{name}:{number}", text, (label_of(folder, path),), title=title)
