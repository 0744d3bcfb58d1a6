"""``pydoc``: the documentation strings of the Python packages installed beside texthash. Real prose, no download.

A document is the documentation string of a module, class or function with at least 15 words; the same text twice
counts once. Its label is package and first submodule (``scipy.stats``); only labels with at least 150 documents, and as
many triple-quoted strings, are kept. Source files are parsed with :mod:`ast`, never imported. Which packages are
installed decides what the corpus holds: figures compare only within one environment, which the manifest's checksum
identifies.
"""

from __future__ import annotations

import ast
import gc
import importlib.util
import os
import sysconfig
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from texthash.config import CorpusConfig
from texthash.corpora.document import Document
from texthash.corpora.record import CorpusRecord
from texthash.errors import CorpusError
from texthash.home import Home
from texthash.progress import track

MIN_WORDS = 15
MIN_DOCUMENTS = 150
_QUOTES = (b'"""', b"'''")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_OURS = "texthash"
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


def files(config: CorpusConfig, home: Home) -> list[Path]:
    """None: installed packages are not files to keep."""
    return []


def read(config: CorpusConfig, home: Home) -> Iterator[Document]:
    """All documents, by package, file and place in the file."""
    return documents_in(package_folders())


def package_folders() -> list[Path]:
    """Where packages are installed for the running interpreter, and where scikit-learn, a dependency, is."""
    found = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    spec = importlib.util.find_spec("sklearn")
    if spec is not None and spec.origin:
        found.append(str(Path(spec.origin).parents[1]))
    return sorted({Path(folder).resolve() for folder in found if folder and Path(folder).is_dir()})


def documents_in(
    folders: list[Path], min_documents: int = MIN_DOCUMENTS, packages: Collection[str] | None = None
) -> Iterator[Document]:
    """The documents of the packages in some folders.

    Args:
        folders: Where packages lie.
        min_documents: How many a label needs.
        packages: Only these; None: all.

    Raises:
        CorpusError: when no label has ``min_documents``.
    """
    sources = _promising(folders, min_documents, packages)
    found: dict[str, list[Document]] = defaultdict(list)
    seen: set[str] = set()
    with _uncollected():
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
    """Files with triple-quoted strings, under labels that have enough of these to be worth parsing."""
    sources, strings = [], Counter[str]()
    for folder in folders:
        for path in _python_files(folder, packages):
            label = ".".join(_module(folder, path)[:2])
            content = path.read_bytes()
            if count := sum(content.count(quotes) for quotes in _QUOTES) // 2:
                sources.append((folder, path, label))
                strings[label] += count
    return [source for source in sources if strings[source[2]] >= min_documents]


def _python_files(folder: Path, packages: Collection[str] | None) -> list[Path]:
    found: list[Path] = []
    for parent, names, leaves in os.walk(folder):
        top = Path(parent) == folder
        names[:] = [
            name
            for name in names
            if name.isidentifier() and name != _OURS and not (top and packages is not None and name not in packages)
        ]
        if not top:  # a lone file beside the packages has no submodule
            found += [Path(parent, leaf) for leaf in leaves if leaf.endswith(".py")]
    return sorted(found)


def _module(folder: Path, path: Path) -> tuple[str, ...]:
    """``scipy/stats/__init__.py`` -> (scipy, stats); ``scipy/__init__.py`` -> (scipy,)."""
    parts = path.relative_to(folder).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def _documents(folder: Path, path: Path, label: str) -> Iterator[Document]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in other people's code
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # templates and sources for another Python: not documents of this one
    module = ".".join(_module(folder, path))
    for number, (name, node) in enumerate(_documented(tree)):
        text = ast.get_docstring(node)
        if text and len(text.split()) >= MIN_WORDS and _is_unicode(text):
            title = f"{module}.{name}" if name else module
            yield Document(f"{module}:{name}:{number}", text, (label,), title=title, origin=f"{path}:{_line(node)}")


def _documented(
    tree: ast.Module,
) -> Iterator[tuple[str, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Modules, classes and functions with their qualified names, in order of the source. Expressions are not walked."""
    stack: list[tuple[str, ast.AST]] = [("", tree)]
    while stack:
        name, node = stack.pop()
        if isinstance(node, _DOCUMENTED):
            yield name, node
        inner: list[tuple[str, ast.AST]] = []
        for block in ("body", "orelse", "handlers", "finalbody"):
            statements = getattr(node, block, None)
            if isinstance(statements, list):
                inner += [(_qualified(name, child), child) for child in statements if hasattr(child, "body")]
        stack += reversed(inner)


def _qualified(name: str, node: ast.AST) -> str:
    own = getattr(node, "name", None) if isinstance(node, _DOCUMENTED) else None
    return ".".join(filter(None, (name, own)))


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 1)


def _is_unicode(text: str) -> bool:
    """Whether no escape in the source left half a character."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Syntax trees are many objects without cycles: collecting garbage while they are built takes most of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
