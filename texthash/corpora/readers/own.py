"""A corpus of one's own: a file or folder of JSONL, CSV or Parquet, or a folder of text whose subfolders are labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path

from texthash.config import CorpusConfig
from texthash.corpora.document import SPLITS, Document
from texthash.corpora.readers import rows
from texthash.errors import CorpusError
from texthash.io.atomic import side_by_side
from texthash.paths import Home

# Bytes of a part, which a worker holds at a time: whatever the size of the corpus, its memory is the same.
_PART_BYTES = 3_000_000
_FILE_COST = 4096


def files(config: CorpusConfig, home: Home) -> list[Path]:
    """The files of ``config.path``, sorted by name: its tables if it has any, else all its files that are not hidden.

    Raises:
        CorpusError: if there is nothing to read, or a folder that cannot be read.
    """
    path = Path(config.path or "")
    utf8_name(path)
    if not path.exists():
        raise CorpusError(f"corpus.path={config.path} does not exist.", "give a file or a folder.")
    if path.is_file():
        return [path]
    inside = list(_walk(path))
    tables = sorted(file for file in inside if file.parent == path and file.name.lower().endswith(rows.ROW_SUFFIXES))
    found = tables or sorted(inside)
    if not found:
        raise CorpusError(f"corpus.path={config.path} is an empty folder.", "put text or table files there.")
    for file in found:
        utf8_name(file)
    return found


def parts(config: CorpusConfig, home: Home) -> list[Callable[[], Iterator[Document]]]:
    """Pieces of all files, in order: ranges of JSONL, row groups of Parquet, whole files of other tables, and some
    files of text together.

    In a folder of text each file is a document, the path below the folder its id, the folder it lies in its label.
    Folders ``train``, ``validation`` and ``test`` at the top, if any, are splits.
    """
    root = Path(config.path or "")
    found = files(config, home)
    sizes = {path: _size(path) for path in found}
    result: list[Callable[[], Iterator[Document]]] = []
    for is_table, group in groupby(found, lambda path: path == root or path.name.lower().endswith(rows.ROW_SUFFIXES)):
        if is_table:
            tables = list(group)
            spans = side_by_side(partial(rows.spans, size=_PART_BYTES), tables)
            result += [partial(rows.documents, path, span) for path in tables for span in next(spans)]
        else:
            result += [partial(_text_files, together, root) for together in _together(group, sizes)]
    return result


def utf8_name(path: Path) -> str:
    """Return a path as text, its parts parted by slashes, whatever encoding the locale gives to names of files.

    Raises:
        CorpusError: its bytes are not UTF-8, so it can be neither an id nor a label.
    """
    raw = str(path).encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"the name of the file {raw!r} is not UTF-8.", "rename it, for instance with convmv."
        ) from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}.", "check the path and its permissions.") from error


def _together(paths: Iterable[Path], sizes: dict[Path, int]) -> Iterator[list[Path]]:
    """Files in runs of about the size of a part."""
    run: list[Path] = []
    waiting = 0
    for path in paths:
        run.append(path)
        waiting += sizes[path] + _FILE_COST
        if waiting >= _PART_BYTES:
            yield run
            run, waiting = [], 0
    if run:
        yield run


def _text_files(paths: list[Path], root: Path) -> Iterator[Document]:
    return (_text_file(path, root) for path in paths)


def _text_file(path: Path, root: Path) -> Document:
    identity = utf8_name(path.relative_to(root))
    *folders, name = identity.split("/")
    split = folders.pop(0) if folders and folders[0] in SPLITS else ""
    text = "".join(line for _, line in rows.lines(path))
    labels = ("/".join(folders),) if folders else ()
    return Document(identity, text, labels, split, title=name, origin=utf8_name(path))


def _walk(root: Path) -> Iterator[Path]:
    """All files but hidden ones; a folder without access is an error, and so is, when it is read, a link to nowhere."""

    def refuse(error: OSError) -> None:
        raise CorpusError(
            f"{error.filename} cannot be read: {error.strerror}.", "give access to the folder."
        ) from error

    for parent, folders, names in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = (Path(parent, name) for name in names if not name.startswith("."))
        yield from (file for file in files if file.is_file() or file.is_symlink())
