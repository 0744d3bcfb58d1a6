"""The corpora that texthash can read, as records; and the way from a configuration to its documents."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType

from texthash.config import CorpusConfig
from texthash.corpora.document import Document
from texthash.corpora.manifest import Manifest, SourceFile
from texthash.errors import CorpusError, UsageError, nearest_name
from texthash.home import Home, resolve_home


@dataclass(frozen=True)
class CorpusRecord:
    """What is known of a corpus before it is read.

    Attributes:
        name: As in ``corpus.name``.
        title: As its owner calls it.
        documents: Number of documents; None where it depends on the environment.
        labels: Number of labels; None likewise.
        multi_label: Whether a document may have several.
        licence: Of the text.
        source: Where its owner publishes it.
        citation: Whom to cite.
        reader: Module of :mod:`texthash.corpora.readers`.
        embedded: Whether it needs no file.
    """

    name: str
    title: str
    documents: int | None
    labels: int | None
    multi_label: bool
    licence: str
    source: str
    citation: str
    reader: str
    embedded: bool = False


CORPORA: dict[str, CorpusRecord] = {
    record.name: record
    for record in (
        CorpusRecord(
            name="20newsgroups",
            title="20 Newsgroups, sorted by date",
            documents=18_846,
            labels=20,
            multi_label=False,
            licence="none stated; public Usenet messages, free for research",
            source="http://qwone.com/~jason/20Newsgroups/20news-bydate.tar.gz",
            citation="Lang, NewsWeeder: Learning to Filter Netnews, ICML 1995",
            reader="newsgroups20",
        ),
        CorpusRecord(
            name="pydoc",
            title="Documentation strings of the installed Python packages",
            documents=None,
            labels=None,
            multi_label=False,
            licence="of each package",
            source="the packages installed beside texthash",
            citation="",
            reader="pydoc",
            embedded=True,
        ),
    )
}


def find(name: str) -> CorpusRecord:
    """The record of a corpus; raises :class:`UsageError` naming the nearest known name."""
    if name not in CORPORA:
        raise UsageError(
            f"there is no corpus {name!r} ({nearest_name(name, CORPORA)}).",
            "`texthash corpora` lists them; for documents of your own set corpus.path.",
        )
    return CORPORA[name]


def at_hand(name: str, data_dir: str | None = None, home: Home | None = None) -> bool:
    """Whether a corpus can be read without a download."""
    record = find(name)
    if record.embedded:
        return True
    return bool(_reader(record.reader).files(CorpusConfig(name=name, data_dir=data_dir), home or resolve_home()))


@dataclass(frozen=True)
class Source:
    """The documents that a configuration names."""

    config: CorpusConfig
    home: Home
    reader: ModuleType

    def documents(self) -> Iterator[Document]:
        """In reading order, up to ``config.limit``."""
        return islice(self.reader.read(self.config, self.home), self.config.limit)

    def files(self) -> list[SourceFile]:
        """The files that are read, with their checksums."""
        return [_describe(path) for path in self.reader.files(self.config, self.home)]

    def check_unchanged(self, manifest: Manifest) -> None:
        """Raise :class:`CorpusError` if a person's own files are there and differ from those that were prepared."""
        if self.config.path is None or not Path(self.config.path).exists():
            return
        now = self.files()
        if now != manifest.source_files:
            changed = sorted({file.name for file in set(now) ^ set(manifest.source_files)})
            target = self.home.corpus(manifest.name, manifest.edition)
            raise CorpusError(
                f"the corpus {manifest.name}/{manifest.edition} was prepared from other files: "
                f"{', '.join(changed[:5])} changed since.",
                f"name a new edition (corpus.edition.name=...), or delete {target}.",
            )


def open_source(config: CorpusConfig, home: Home) -> Source:
    """Find who reads a corpus.

    Raises:
        UsageError: an unknown name without a path, or a path under a name that is taken.
    """
    if config.path is not None and config.name in CORPORA:
        raise UsageError(
            f"corpus.path={config.path} is a corpus of your own, and {config.name!r} is the name of another.",
            "give it a name of its own, e.g. corpus.name=mine.",
        )
    reader = "own" if config.path is not None else find(config.name).reader
    return Source(config, home, _reader(reader))


def _reader(name: str) -> ModuleType:
    return importlib.import_module(f"texthash.corpora.readers.{name}")


def _describe(path: Path) -> SourceFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return SourceFile(path.name, path.stat().st_size, digest)
