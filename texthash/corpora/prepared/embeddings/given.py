"""The user's own vectors of the documents of a corpus, from a column of its tables or a file beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from texthash.config import CorpusConfig
from texthash.corpora.catalog import open_source
from texthash.corpora.document import SPLITS
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.embeddings.checks import REMEDY, flaw_of
from texthash.corpora.prepared.embeddings.sources import COLUMN, NPY, identity
from texthash.corpora.prepared.embeddings.stored import META, StoredVectors, read_stored
from texthash.corpora.readers import formats, own, rows, tables
from texthash.corpora.readers.text_files import Span
from texthash.corpora.readers.vectors import Vectors, vectors
from texthash.errors import CorpusError
from texthash.input_files import require_file
from texthash.io.atomic import exclusive, write_json
from texthash.io.object_store_cache import here
from texthash.paths import as_path, resolve_home
from texthash.progress import track

_ROWS = 8192
_Part = tuple[list[str], NDArray[np.float32]]


def ensure_given(corpus: PreparedCorpus, name: str, folder: Path) -> None:
    """Store the vectors of all documents, unless that is done: files of the splits, as of a sentence encoder.

    Args:
        corpus: The prepared corpus.
        name: ``column:NAME`` or ``npy:FILE``.
        folder: Where to store them; the files appear when they are whole.

    Raises:
        CorpusError: There is no such column or file, it has not one vector for each document, or a vector is of another
            width than the others, not finite, or zero. The error names the file and the row.
    """
    if corpus.manifest.pairs:
        raise CorpusError(
            f"corpus.features={name}: the questions of a pair corpus have no vectors there.",
            "use a sentence encoder, which encodes them, such as corpus.features=minilm.",
        )
    digest = _digest(name)
    with exclusive(folder / ".lock"):
        if (folder / META).is_file():
            if read_stored(folder).sha256 != digest:
                raise CorpusError(
                    f"{name} has changed since its vectors were stored in {folder}.",
                    "delete that folder to store the new ones, and train again.",
                )
            return
        width = _store(corpus, name, folder)
        write_json(folder / META, asdict(StoredVectors(identity(name), width, digest)))


def _store(corpus: PreparedCorpus, name: str, folder: Path) -> int:
    places = {id_: (split, row) for split in SPLITS for row, id_ in enumerate(corpus.split(split).ids)}
    stored: dict[str, np.memmap] = {}
    width = 0
    read = _column(corpus.manifest.config, name) if name.startswith(COLUMN) else _file(corpus.manifest.config, name)
    for ids, values in track(read, "vectors (parts)"):
        if not stored:
            width = values.shape[1]
            for split in SPLITS:
                shape = (max(1, len(corpus.split(split))), width)
                stored[split] = np.lib.format.open_memmap(folder / f".{split}.npy", "w+", np.float32, shape)
        for id_, vector in zip(ids, values, strict=True):
            if (place := places.pop(id_, None)) is not None:  # else the document was left out of the corpus
                stored[place[0]][place[1]] = vector
    if places:
        raise CorpusError(
            f"{name}: {len(places)} documents have no vector, such as {next(iter(places))!r}.",
            "give each document one: the rows have to be those that were prepared.",
        )
    for split, array in stored.items():
        array.flush()
        (folder / f".{split}.npy").rename(folder / f"{split}.npy")
    return width


def _column(config: CorpusConfig, name: str) -> Iterator[_Part]:
    column = name.removeprefix(COLUMN)
    files = [] if config.path is None else _tables(config)
    if not files:
        raise CorpusError(
            f"corpus.features={name}: the corpus {config.name} has no tables of your own with such a column.",
            "set corpus.path to Parquet or JSONL with the column; or use npy:FILE, with one vector a document.",
        )
    width, first = 0, ""
    for part in own.pieces(here(config, resolve_home()), rows.Columns.of(config), partial(_read, column=column)):
        for some in part():
            if not isinstance(some, Vectors):  # a text file, which has none
                continue
            path, lines = some.table.path, some.lines
            width, first = width or some.values.shape[1], first or f"{path}:{lines[0]}"
            if some.values.shape[1] != width:
                raise CorpusError(
                    f"{path}:{lines[0]}: {column} is a list of {some.values.shape[1]} numbers, and of {width} in "
                    f"{first}.",
                    "give every row a list of numbers, all of one length.",
                )
            if flaw := flaw_of(some.values):
                raise CorpusError(f"{path}:{lines[flaw[0]]}: {column} {flaw[1]}.", REMEDY)
            yield some.ids, some.values


def _read(table: rows.Table, span: Span | None, column: str) -> Iterator[Vectors]:
    return vectors(table, span, column)


def _tables(config: CorpusConfig) -> list[Path]:
    local = here(config, resolve_home())
    if formats.reader_of(local) is not own:
        return []
    return [path for path in own.files(local, resolve_home()) if tables.is_table(path, tables.READ_SUFFIXES)]


def _file(config: CorpusConfig, name: str) -> Iterator[_Part]:
    path = as_path(name.removeprefix(NPY))
    array = open_npy(path)
    if flaw := flaw_of(array):
        raise CorpusError(f"{path}: row {flaw[0]} {flaw[1]}.", REMEDY)
    documents, row = open_source(config, resolve_home()).documents(), 0
    ids: list[str] = []
    for row, document in enumerate(documents, start=1):
        ids.append(document.id)
        if len(ids) == _ROWS:
            yield ids, array[row - len(ids) : row]
            ids = []
    if row > len(array) or (row < len(array) and config.limit is None):
        raise CorpusError(
            f"{path} has {len(array)} rows, and the corpus {config.name} was read from {row} documents.",
            "give one row a document, in the order of the documents.",
        )
    yield ids, array[row - len(ids) : row]


def open_npy(path: Path, least_dimensions: int = 2) -> NDArray:
    """Return the array of a ``.npy`` file of vectors, mapped: numbers [N, D], or [D] if one dimension is enough.

    Raises:
        CorpusError: There is no such file, or it holds something else.
    """
    require_file(path, "name a file of numpy.save.", CorpusError)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise CorpusError(f"{path} cannot be read as an array: {error}", "write it by numpy.save.") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise CorpusError(f"{path} is an archive of arrays (.npz), not one array.", "write it by numpy.save.")
    if not least_dimensions <= array.ndim <= 2 or array.dtype.kind not in "fiu" or not array.size:
        raise CorpusError(
            f"{path} holds {array.dtype} of shape {array.shape}, not vectors.", "save numbers of the shape [N, width]."
        )
    return array


def _digest(name: str) -> str | None:
    """Return the SHA-256 of a file of vectors; None for a column, whose file the corpus watches."""
    if not name.startswith(NPY):
        return None
    path = as_path(name.removeprefix(NPY))
    require_file(path, "name a file of numpy.save in corpus.features.", CorpusError)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CorpusError(f"corpus.features={name}: {error.strerror}.", "name a file of numpy.save.") from None
