"""Manifest of a prepared corpus: ``manifest.json``, written last, so a corpus that has one is complete."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from texthash.api.attributes import AttributeType
from texthash.config import CorpusConfig
from texthash.corpora.document import SPLITS
from texthash.errors import CorpusError
from texthash.io.records import FileName, read_record, typed

SCHEMA_VERSION = 2
MANIFEST = "manifest.json"
_REMEDY = "delete the directory and prepare it again."


@dataclass(frozen=True)
class SplitCounts:
    """Sizes of one split: documents, distinct words summed over documents, words, and label assignments."""

    documents: int
    words: int
    tokens: int
    labels: int


@dataclass(frozen=True)
class PairCounts:
    """Sizes of one split of a pair corpus.

    Attributes:
        queries: Number of questions; one that several documents answer counts once for each.
        tokens: Number of vocabulary words in the questions.
        documents: Number of documents that answer a question.
        negatives: Number of given hard negatives.
    """

    queries: int
    tokens: int
    documents: int
    negatives: int


@dataclass(frozen=True)
class SourceFile:
    """File from which the corpus was read."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Resolved facts about one prepared corpus.

    Attributes:
        name: Name of the corpus.
        config: Resolved configuration of the preparation.
        splits: Sizes by split.
        dropped: Number of documents left out, by reason.
        remarks: Number of documents kept with a remark, by remark.
        label_names: Name of each label number.
        label_parents: Parent of each label that has one; empty where labels form no tree.
        multi_label: Whether a document has more than one label.
        vocabulary_hash: Hash of words and statistics.
        source_checksum: SHA-256 over ids, texts, labels and splits of all documents, in reading order.
        pairs: Sizes of the questions by split, in a pair corpus; empty for others.
        judged: Number of queries with a relevant document by split, in a test collection; empty for others.
        attributes: Type of each attribute of the documents; empty where they have none.
        source_files: Files that were read; empty where the source has none (installed packages).
        warnings: Warnings to consider before trusting metrics.
    """

    name: FileName
    config: CorpusConfig
    splits: dict[str, SplitCounts]
    dropped: dict[str, int]
    label_names: list[str]
    multi_label: bool
    vocabulary_hash: str
    source_checksum: str
    remarks: dict[str, int] = field(default_factory=dict)
    label_parents: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, PairCounts] = field(default_factory=dict)
    judged: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, AttributeType] = field(default_factory=dict)
    source_files: list[SourceFile] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    schema_version: int = SCHEMA_VERSION

    @property
    def edition(self) -> str:
        """Name of the edition."""
        return self.config.edition.name

    @property
    def documents(self) -> dict[str, int]:
        """Number of documents by split."""
        return {name: counts.documents for name, counts in self.splits.items()}

    @property
    def config_hash(self) -> str:
        """Fingerprint of all settings that determine the content."""
        return config_hash(self.config)

    def to_json(self) -> str:
        config = self.config.model_dump(mode="json", exclude={"features", "features_of"})
        record = {**asdict(self), "config": config, "config_hash": self.config_hash}
        for name in ("pairs", "judged", "attributes"):
            if not record[name]:
                del record[name]
        return json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True) + "\n"

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read a manifest; raises :class:`CorpusError` if it is absent, unreadable or of another schema version."""
        path = directory / MANIFEST
        try:
            record = read_record(path, _REMEDY, CorpusError)
        except FileNotFoundError:
            raise CorpusError(
                f"{directory} is not a prepared corpus: it has no {MANIFEST}.", "prepare it: `texthash prepare`."
            ) from None
        if record.get("schema_version") != SCHEMA_VERSION:
            raise CorpusError(
                f"{path} has schema version {record.get('schema_version')!r}, this texthash reads {SCHEMA_VERSION}.",
                _REMEDY,
            )
        record.pop("config_hash", None)
        manifest = typed(cls, record, path, _REMEDY, error=CorpusError)
        if missing := [name for name in SPLITS if name not in manifest.splits]:
            raise CorpusError(f"{path} is broken: it has no split {', '.join(missing)}.", _REMEDY)
        return manifest


def config_hash(config: CorpusConfig) -> str:
    """Return the SHA-256 (hex) of the settings that determine the content.

    These are all but the location of the source files and the source of vectors, which are stored separately.
    """
    decisive = config.model_dump(mode="json", exclude={"data_dir", "features", "features_of"})
    return hashlib.sha256(json.dumps([SCHEMA_VERSION, decisive], sort_keys=True).encode()).hexdigest()
