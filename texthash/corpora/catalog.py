"""Catalog of the corpora that texthash can read, and the source of documents that a configuration names."""

from __future__ import annotations

import hashlib
import importlib
import os
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from types import ModuleType

import texthash.corpora.readers as package
from texthash.config import CorpusConfig
from texthash.corpora.corpus_record import CorpusRecord
from texthash.corpora.document import Document
from texthash.corpora.prepared.manifest import Manifest, SourceFile
from texthash.corpora.readers import formats, hugging_face, own
from texthash.corpora.readers.beir import Judgements
from texthash.errors import CorpusError, UsageError, nearest_name
from texthash.io import object_store_cache
from texthash.io.atomic import side_by_side
from texthash.paths import DATA_VARIABLE, StateDir, as_path, is_address, is_dataset, resolve_home
from texthash.progress import log_line

Part = Callable[[], Iterator[Document]]
"""A part of a corpus that can be read independently, also in another process (it is pickled)."""


@cache
def readers() -> dict[str, ModuleType]:
    """Return the modules of :mod:`texthash.corpora.readers` that define a ``record``, by the name of their corpus.

    Such a module offers ``files(config, home)``, the official files that are available, and either
    ``read(config, home)``, all documents in order, or ``parts(config, home)``, a list of :data:`Part` that yield them
    in order. It may offer ``label_parents(config, home)``, the parent of each label of a tree,
    ``judgements(config, home)``, the queries of a test collection and their judgements, and ``notes(config, home)``,
    sentences about content of the files that it skips.
    """
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in sorted(names)]
    return {module.record.name: module for module in modules if hasattr(module, "record")}


def records() -> dict[str, CorpusRecord]:
    """Return the records of all corpora by name."""
    return {name: reader.record for name, reader in readers().items()}


def find(name: str) -> CorpusRecord:
    """Return the record of a corpus; raises :class:`UsageError` naming the nearest known name."""
    known = records()
    if name not in known:
        raise UsageError(
            f"there is no corpus {name!r} ({nearest_name(name, known)}).",
            "`texthash corpora` lists them; for documents of your own set corpus.path.",
        )
    return known[name]


def available(name: str, data_dir: str | None = None, home: StateDir | None = None) -> bool:
    """Return whether a corpus can be read without a download."""
    record = find(name)
    if record.embedded:
        return True
    with object_store_cache.looking():
        return bool(readers()[name].files(CorpusConfig(name=name, data_dir=data_dir), home or resolve_home()))


@dataclass(frozen=True)
class Source:
    """The documents that a configuration names."""

    config: CorpusConfig
    home: StateDir

    @cached_property
    def reader(self) -> ModuleType:
        """Reader module; for a user's own files it is chosen by their content.

        Raises:
            UsageError: Columns are named that it does not read.
        """
        config = self.config
        found = formats.reader_of(self._here) if config.path is not None else readers()[config.name]
        if found not in (own, hugging_face) and (named := config.columns.model_dump(exclude_none=True)):
            key, column = next(iter(named.items()))
            raise UsageError(
                f"corpus.columns.{key}={column}, but {config.path or f'the corpus {config.name}'} is no table of rows.",
                "leave corpus.columns out; a format of its own has columns of its own.",
            )
        return found

    def parts(self) -> list[Part]:
        """Return parts that can be read in parallel; their concatenated documents are the corpus.

        With ``config.limit`` there is one part, because its end is known only after all preceding documents are read.
        """
        return self._all_parts() if self.config.limit is None else [self.documents]

    def documents(self) -> Iterator[Document]:
        """Yield the documents in reading order, up to ``config.limit``."""
        return islice(chain.from_iterable(part() for part in self._all_parts()), self.config.limit)

    def _all_parts(self) -> list[Part]:
        parts = self._parts_here
        if not object_store_cache.is_remote(self.config):
            return parts
        # A part names files of this node, so another node has to fetch and locate them before it reads the part.
        config = self.config.derive(data_dir=self.config.data_dir or os.environ.get(DATA_VARIABLE))
        return [partial(_part, config, self.home, number) for number in range(len(parts))]

    @cached_property
    def _here(self) -> CorpusConfig:
        return object_store_cache.here(self.config, self.home)

    @cached_property
    def _parts_here(self) -> list[Part]:
        if hasattr(self.reader, "parts"):
            return self.reader.parts(self._here, self.home)
        return [partial(self.reader.read, self._here, self.home)]

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the configuration only: modules cannot be pickled, and files are fetched by the reading process."""
        return open_source, (self.config, self.home)

    def label_parents(self) -> dict[str, str]:
        """Return the parent of each label that has one; empty where labels form no tree."""
        return self.reader.label_parents(self._here, self.home) if hasattr(self.reader, "label_parents") else {}

    def judgements(self) -> Judgements | None:
        """Return the queries of a test collection and their judgements; None where there are none."""
        return self.reader.judgements(self._here, self.home) if hasattr(self.reader, "judgements") else None

    def notes(self) -> list[str]:
        """Return sentences that count and name the content of the files that is skipped."""
        return self.reader.notes(self._here, self.home) if hasattr(self.reader, "notes") else []

    def shortfall(self, documents: int) -> list[str]:
        """Return a warning where fewer documents were read than a known corpus has; none with ``config.limit``."""
        if self.config.path is not None or self.config.limit is not None:
            return []
        whole = find(self.config.name).documents
        if whole is None or documents >= whole:
            return []
        return [f"{documents:,} of {whole:,} documents: what is at hand is a part of the corpus."]

    def files(self) -> list[SourceFile]:
        """Return the files that are read, with their checksums.

        A corpus without available files is downloaded first, unless its download requires agreement to terms.
        """
        if hasattr(self.reader, "source_files"):
            described: list[SourceFile] = self.reader.source_files(self._here, self.home)
            return described
        found = self.reader.files(self._here, self.home)
        record = find(self.config.name) if self.config.path is None else None
        if not found and record is not None and not record.terms:
            from texthash.corpora.download import fetch

            for download in record.downloads:
                fetch(download, self.home.downloads)
            found = self.reader.files(self._here, self.home)
        return list(side_by_side(_describe, found))

    def check_unchanged(self, manifest: Manifest) -> None:
        """Compare the present files with those that were prepared.

        A user's own files have to be unchanged. For a known corpus, which may have been downloaded in another form
        since, a difference is logged. Files in an object store are not fetched; only their sizes are compared.

        Raises:
            CorpusError: The user's own files changed.
        """
        target = self.home.corpus(manifest.name, manifest.edition)
        changed = self._changed_since(manifest)
        if changed and self.config.path is None:
            log_line(
                f"warning: {target} was prepared from other files than those available ({', '.join(changed[:5])}); "
                "delete it to prepare it from these."
            )
        elif changed:
            raise CorpusError(
                f"the corpus {manifest.name}/{manifest.edition} was prepared from other files: "
                f"{', '.join(changed[:5])} changed since.",
                f"name a new edition (corpus.edition.name=...), or delete {target}.",
            )

    def _changed_since(self, manifest: Manifest) -> list[str]:
        prepared = {(file.name, file.bytes) for file in manifest.source_files}
        if self.config.path is None:
            try:
                with object_store_cache.looking():
                    files = self.reader.files(self.config, self.home)
                    here = {(path.name, path.stat().st_size) for path in files}
            except (CorpusError, OSError):  # a prepared corpus does not need its source files
                return []
            return sorted({name for name, _ in here ^ prepared}) if here else []
        if is_dataset(self.config.path) or not as_path(self.config.path).exists():
            return []  # a commit does not change
        if is_address(self.config.path):
            return sorted(name for name, _ in prepared - object_store_cache.sizes(self.config.path))
        return sorted({file.name for file in {*self.files()} ^ {*manifest.source_files}})


def open_source(config: CorpusConfig, home: StateDir) -> Source:
    """Open the source of a corpus.

    Raises:
        UsageError: The name is unknown and there is no path, the path has the name of a known corpus, or the label set
            is unknown.
    """
    if config.path is not None and config.name in records():
        raise UsageError(
            f"corpus.path={config.path} is a corpus of your own, and {config.name!r} is the name of another.",
            "give it a name of its own, e.g. corpus.name=mine.",
        )
    label_sets = () if config.path is not None else find(config.name).label_sets
    chosen = config.edition.label_set
    if chosen is not None and chosen not in label_sets:
        raise UsageError(
            f"corpus.edition.label_set={chosen!r}: {config.name} has "
            f"{'one of ' + ', '.join(label_sets) if label_sets else 'no choice of labels'}.",
            "leave it out for the corpus' default.",
        )
    return Source(config, home)


@lru_cache(maxsize=1)
def _source(config: str, home: StateDir) -> Source:
    return open_source(CorpusConfig.model_validate_json(config), home)


def _part(config: CorpusConfig, home: StateDir, number: int) -> Iterator[Document]:
    """Yield the documents of a part of a corpus in an object store; missing files are fetched to this node."""
    return _source(config.model_dump_json(), home)._parts_here[number]()


def _describe(path: Path) -> SourceFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return SourceFile(path.name, path.stat().st_size, digest)
