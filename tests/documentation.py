"""A small real corpus: documentation strings of every object, private or not, of packages that are always installed."""

from __future__ import annotations

import ast
import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from texthash.corpora.document import Document
from texthash.corpora.readers import installed
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
from texthash.io.atomic import exclusive, write_text

_FEWEST_WORDS = 15
_FEWEST_DOCUMENTS = 150
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}


def kept_documentation(folder: Path, packages: Collection[str], labels: int, per_label: int) -> list[Document]:
    """Return :func:`documentation`, read once for all workers and runs, since the packages are large; then from a file.

    Args:
        folder: Directory of the files, one for each version of the packages and of what reads them.
    """
    source = [version(_DISTRIBUTIONS.get(package, package)) for package in packages]
    source += [Path(file).read_text(encoding="utf-8") for file in (__file__, installed.__file__)]
    key = hashlib.sha256(repr((source, sorted(packages), labels, per_label)).encode()).hexdigest()[:16]
    path = folder / f"{key}.jsonl"
    with exclusive(folder / f".{key}.lock"):
        if not path.exists():
            rows = [(d.id, d.text, d.labels, d.title) for d in documentation(packages, labels, per_label)]
            write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    with path.open(encoding="utf-8") as file:
        return [
            Document(id_, text, tuple(names), title=title) for id_, text, names, title in (json.loads(x) for x in file)
        ]


def documentation(packages: Collection[str], labels: int, per_label: int) -> list[Document]:
    """Return documents of the first so many labels, at most so many of each; a label is a package and its module.

    Reads the files of one label after the other, and no more of them than it takes.
    """
    files: dict[str, list[tuple[Path, Path]]] = defaultdict(list)
    for folder in package_folders():
        for path in python_files(folder, packages):
            files[label_of(folder, path)].append((folder, path))
    kept: list[Document] = []
    seen: set[str] = set()
    for label in sorted(files):
        with uncollected():
            own = list(islice(_new_documents(label, files[label], seen), max(per_label, _FEWEST_DOCUMENTS)))
        if len(own) >= _FEWEST_DOCUMENTS:
            kept += own[:per_label]
            labels -= 1
        if not labels:
            break
    return kept


def _new_documents(label: str, files: Iterable[tuple[Path, Path]], seen: set[str]) -> Iterator[Document]:
    """Yield the documents of some files whose text is not among those seen, to which it is added."""
    for folder, path in files:
        tree, module = syntax_tree(path.read_bytes()), ".".join(module_of(folder, path))
        for number, (name, node) in enumerate(documented(tree) if tree is not None else ()):
            text = ast.get_docstring(node)
            if text and len(text.split()) >= _FEWEST_WORDS and is_unicode(text) and text not in seen:
                seen.add(text)
                title = f"{module}.{name}" if name else module
                yield Document(f"{module}:{name}:{number}", text, (label,), title=title)
