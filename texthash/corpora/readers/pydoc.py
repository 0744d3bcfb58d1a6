"""``pydoc``: documentation strings of the standard library and the packages that texthash requires. No download.

A document is the documentation string of a public module, class or function with at least 8 words; equal texts, and
equal names, count once. Its title, and its id, is the name by which a program reaches it (``pandas.read_csv``, see
:mod:`~texthash.corpora.readers.namespaces`). Left out are tests, vendored code, and everything that has no public name.
Its label is package and first submodule (``scipy.stats``, ``python.asyncio``), or the package alone, where these are
private or have fewer than 150 documents; packages that have fewer are left out.

The packages are those that texthash itself requires, so that every environment has the same ones, whatever else is
installed there. Their versions, and that of Python, may differ: metrics are comparable only within one environment,
which the manifest's checksum identifies. The labels of the standard library begin with ``python``.

Source files are parsed with :mod:`ast`, never imported; of the standard library, the compiled modules are imported.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path

from texthash.config import CorpusConfig
from texthash.corpora.corpus_record import CorpusRecord
from texthash.corpora.document import Document
from texthash.corpora.readers.compiled import compiled_modules
from texthash.corpora.readers.installed import (
    is_unicode,
    library_files,
    library_packages,
    module_of,
    own_dependencies,
    package_folders,
    standard_library,
    syntax_tree,
    triple_quoted,
    uncollected,
)
from texthash.corpora.readers.namespaces import ModuleSummary, Namespaces, is_public
from texthash.errors import CorpusError
from texthash.paths import StateDir
from texthash.progress import track

MIN_WORDS = 8
MIN_DOCUMENTS = 150
_STANDARD = "python"
record = CorpusRecord(
    name="pydoc",
    title="Documentation strings of Python's standard library and the packages that texthash requires",
    documents=None,
    labels=None,
    multi_label=False,
    licence="of Python and each package",
    source="Python and the packages that texthash requires",
    citation="",
    embedded=True,
)


def files(config: CorpusConfig, home: StateDir) -> list[Path]:
    """Return no files: installed packages are not recorded as source files."""
    return []


def read(config: CorpusConfig, home: StateDir) -> Iterator[Document]:
    """Yield all documents, by label, file and position in the file."""
    return documents_in(package_folders(), packages=own_dependencies(), standard=standard_library())


def documents_in(
    folders: list[Path],
    min_documents: int = MIN_DOCUMENTS,
    packages: Collection[str] | None = None,
    standard: Path | None = None,
) -> Iterator[Document]:
    """Yield the documents of the packages in folders.

    Args:
        folders: Folders that contain packages.
        min_documents: Minimum number of documents of a package, and of a label with a submodule.
        packages: Names of the packages to read; None: all.
        standard: Folder of the standard library; None: without it.

    Raises:
        CorpusError: No package has ``min_documents``.
    """
    found: dict[str, list[Document]] = defaultdict(list)
    seen: set[str] = set()
    libraries = [] if standard is None else [(_STANDARD, standard, library_packages(standard, modules=True))]
    for folder in folders:
        named = [path for path in library_packages(folder) if packages is None or path.name in packages]
        libraries += [(path.name, folder, [path]) for path in named]
    with uncollected():
        for name, folder, paths in track(libraries, "reading packages"):
            for label, document in _labelled(_documents(name, folder, paths, min_documents, seen), name, min_documents):
                found[label].append(document)
    if not found:
        raise CorpusError(
            f"no package in {', '.join(map(str, folders))} has {min_documents} documentation strings.",
            "install texthash into an environment with its dependencies, or choose another corpus.",
        )
    for label in sorted(found):
        yield from found[label]


def _labelled(documents: list[Document], package: str, least: int) -> Iterator[tuple[str, Document]]:
    """Yield the documents of a package with their final labels, nothing if they are too few."""
    counts = Counter(document.labels[0] for document in documents)
    for document in documents if len(documents) >= least else ():
        label = document.labels[0] if counts[document.labels[0]] >= least else package
        yield label, document._replace(labels=(label,))


def _documents(package: str, folder: Path, paths: Sequence[Path], least: int, seen: set[str]) -> list[Document]:
    """Return the documents of a package whose names and texts were not seen, unless they are certainly too few."""
    sources = {path: path.read_bytes() for path in chain.from_iterable(map(library_files, paths))}
    if sum(map(triple_quoted, sources.values())) < least:
        return []
    summaries = {summary.name: (summary, "") for summary in compiled_modules()} if package == _STANDARD else {}
    for path, source in sources.items():
        if (tree := syntax_tree(source)) is not None:
            name = ".".join(module_of(folder, path))
            summaries[name] = (ModuleSummary.of(name, path.name == "__init__.py", tree), str(path))
    titles = _Titles({name: summary for name, (summary, _) in summaries.items()})
    found: list[Document] = []
    for summary, origin in summaries.values():
        for definition in summary.definitions:
            title, text = titles.of(summary.name, definition.name), definition.text
            if title is None or len(text.split()) < MIN_WORDS or not is_unicode(text):
                continue
            if seen.isdisjoint((title, text)):
                seen |= {title, text}
                place = f"{origin}:{definition.line}" if origin else summary.name
                found.append(Document(title, text, (_label(package, summary.name),), title=title, origin=place))
    return found


class _Titles:
    """Public names of the documented objects of a package."""

    def __init__(self, modules: dict[str, ModuleSummary]) -> None:
        namespaces = Namespaces(modules)
        self._names = namespaces.names()
        self._heirs = namespaces.heirs(self._names)
        every = ((name, definition.name) for name, module in modules.items() for definition in module.definitions)
        self._own = {self._own_name(*one) for one in every}

    def of(self, module: str, name: str) -> str | None:
        """Return the public name of an object of a module; None if it has none."""
        first, _, rest = name.partition(".")
        heir = self._heirs.get((module, first)) if rest and is_public(rest) else None
        if heir is not None:  # the heir may have a method of this name itself
            return None if f"{heir}.{rest}" in self._own else f"{heir}.{rest}"
        own = self._own_name(module, name)
        return None if own is None else own.removeprefix("builtins.")

    def _own_name(self, module: str, name: str) -> str | None:
        if not name:
            return module if is_public(module) else None
        first, _, rest = name.partition(".")
        public = self._names.get((module, first))
        if public is None or not rest:
            return public
        return f"{public}.{rest}" if is_public(rest) else None


def _label(package: str, module: str) -> str:
    parts = ((_STANDARD,) if package == _STANDARD else ()) + tuple(module.split("."))
    return package if any(part.startswith("_") for part in parts[:2]) else ".".join(parts[:2])
