"""Tables of the corpora of Zhang, Zhao and LeCun.

Source: Character-level Convolutional Networks for Text Classification, NIPS 2015.

Each is searched, in this order, as

* ``<folder>/train.csv`` and ``test.csv``: class number from 1, then the text in columns, without a header, all quoted;
* the archive of that folder, ``<folder>.tar.gz``, or ``.tgz`` as fast.ai republishes it;
* the Parquet files of Hugging Face, class number from 0, in a folder of the corpus' or their own name;
* canonical rows ``<name>*.jsonl.gz``, taken unchanged.

All but the rows give documents ``train/0``, ``train/1``, ... with the same text: all columns joined by a space, as in
the authors' own experiments.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from texthash.config import CorpusConfig
from texthash.corpora.corpus_record import CorpusRecord
from texthash.corpora.document import Document
from texthash.corpora.find_files import find_files, missing
from texthash.corpora.readers import rows, tables, text_files
from texthash.errors import CorpusError
from texthash.paths import StateDir

_SPLITS = ("train", "test")
_ARCHIVES = (".tar.gz", ".tgz")
_AGAIN = "fetch the file again, as its owner publishes it."

Part = partial[Iterator[Document]]
Row = tuple[str, str, Sequence[str]]
"""Origin, name of the class, and the text in columns."""


@dataclass(frozen=True)
class Table:
    """Layout of one of the corpora, and the functions of its reader.

    Attributes:
        record: Record of the corpus.
        folder: Name of its folder of CSV files, and of the archive of that folder.
        classes: Names of the classes, in the order of their numbers.
        fields: Number of columns of text in CSV; the first is the title.
        parquet: Paths of its Parquet files, those of train before those of test.
        label: Column of the class number in Parquet.
        texts: Columns of text in Parquet. If they are fewer than ``fields``, the title is part of the text.
        line_breaks: Whether a backslash followed by ``n`` in the text stands for a line break.
    """

    record: CorpusRecord
    folder: str
    classes: tuple[str, ...]
    fields: int
    parquet: tuple[str, ...]
    label: str
    texts: tuple[str, ...]
    line_breaks: bool = False

    def files(self, config: CorpusConfig, home: StateDir) -> list[Path]:
        """Return the files of the first available form; empty if there is none."""
        folder = tuple(f"{self.folder}/{split}.csv" for split in _SPLITS)
        archives = [(f"{self.folder}{suffix}",) for suffix in _ARCHIVES]
        return find_files(self.record.name, [folder, *archives, self.parquet], config, home)

    def parts(self, config: CorpusConfig, home: StateDir) -> list[Part]:
        """Return the parts of train, then of test; for canonical rows, one part per file.

        Raises:
            CorpusError: The corpus is not available; raised by a part, a file is malformed (names file and line).
        """
        found = self.files(config, home)
        if not found:
            raise missing(self.record, config, home)
        if found[0].name.endswith(".jsonl.gz"):
            return [partial(_canonical, path) for path in found]
        if found[0].name.endswith(_ARCHIVES):
            return [partial(_documents, self, split, found) for split in _SPLITS]
        return [partial(_documents, self, split, [p for p in found if p.name.startswith(split)]) for split in _SPLITS]


def _canonical(path: Path) -> Iterator[Document]:
    for line, row in tables.rows(path):
        document = rows.document(row, rows.Table(path), line)
        yield document._replace(remark="text already cut into words") if row.get("tokenized") else document


def _documents(table: Table, split: str, paths: Sequence[Path]) -> Iterator[Document]:
    for number, (origin, label, columns) in enumerate(chain.from_iterable(_rows(table, split, p) for p in paths)):
        texts = [text.replace("\\n", "\n").strip() if table.line_breaks else text for text in columns]
        yield Document(
            id=f"{split}/{number}",
            text=" ".join(filter(None, texts)),
            labels=(label,),
            split=split,
            title=texts[0].strip() if len(texts) == table.fields else "",
            origin=origin,
        )


def _rows(table: Table, split: str, path: Path) -> Iterator[Row]:
    if path.suffix == ".parquet":
        return _parquet(table, path)
    if path.name.endswith(_ARCHIVES):
        return _archived(table, split, path)
    return _csv(table, text_files.lines(path), str(path))


def _archived(table: Table, split: str, path: Path) -> Iterator[Row]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if Path(member.name).name == f"{split}.csv" and (content := archive.extractfile(member)) is not None:
                    name = f"{path}:{member.name}"
                    with io.TextIOWrapper(content, encoding="utf-8", newline="") as text:
                        yield from _csv(table, text_files.numbered(text, name), name)
                    return
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise CorpusError(f"{path} is damaged or cut off: {error}", "fetch the archive again.") from error
    raise CorpusError(f"{path} holds no {split}.csv.", _AGAIN)


def _csv(table: Table, lines: Iterator[tuple[int, str]], name: str) -> Iterator[Row]:
    for line, (number, *texts) in tables.cells(lines, name):
        origin = f"{name}:{line}"
        if len(texts) != table.fields:
            raise CorpusError(f"{origin}: {len(texts) + 1} columns, not {table.fields + 1}.", _AGAIN)
        yield origin, _class(table, number, 1, origin), texts


def _parquet(table: Table, path: Path) -> Iterator[Row]:
    wanted = (table.label, *table.texts)
    for number, row in tables.parquet_rows(path, wanted):
        origin = f"{path}:{number}"
        if absent := [name for name in wanted if name not in row]:
            raise CorpusError(f"{origin}: there is no column {', '.join(absent)}.", _AGAIN)
        texts = [row[name] or "" for name in table.texts]
        if not all(isinstance(text, str) for text in texts):
            raise CorpusError(f"{origin}: {' or '.join(table.texts)} is not text.", _AGAIN)
        yield origin, _class(table, row[table.label], 0, origin), texts


def _class(table: Table, number: object, first: int, origin: str) -> str:
    """Return the name of a class by its number, counted from ``first``."""
    last = first + len(table.classes) - 1
    text = str(number).strip()
    if not (text.isascii() and text.isdigit() and first <= int(text) <= last):
        raise CorpusError(f"{origin}: the class is {number!r}, not a number from {first} to {last}.", _AGAIN)
    return table.classes[int(text) - first]
