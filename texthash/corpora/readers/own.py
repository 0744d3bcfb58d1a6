"""Reader of a user's own corpus.

It is a file or folder of JSONL, CSV, TSV, JSON or Parquet, or a folder of text whose sub-folders are labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from texthash.config import CorpusConfig
from texthash.corpora.document import Document, split_named
from texthash.corpora.readers import rows, tables, text_files
from texthash.corpora.readers.folders import Folder, walk
from texthash.errors import CorpusError
from texthash.io.atomic import side_by_side
from texthash.paths import StateDir

T = TypeVar("T")

# A worker holds one part of about this many bytes, so that its memory does not depend on the size of the corpus.
_PART_BYTES = 3_000_000
_FILE_COST = 4096
_BESIDE_TABLES = "there are tables beside them, and only tables are read"


def files(config: CorpusConfig, home: StateDir) -> list[Path]:
    """Return the files of ``config.path``, sorted by name: its tables if it has any, else all that are not hidden.

    Raises:
        CorpusError: There is nothing to read, or a folder cannot be read.
    """
    return _found(config).files


def notes(config: CorpusConfig, home: StateDir) -> list[str]:
    """Return sentences that count and name what is left out of a folder."""
    return _found(config).notes()


def parts(config: CorpusConfig, home: StateDir) -> list[Callable[[], Iterator[Document]]]:
    """Return parts of all files, in order.

    Parts are ranges of JSONL, row groups of Parquet, whole files of other tables, and groups of text files.

    In a folder of text each file is a document, its path below the folder is the id, and its sub-folder is the label.
    Top folders named train, validation and test, or a synonym, are splits.
    """
    return pieces(config, rows.Columns.of(config), rows.documents)


def pieces(
    config: CorpusConfig, columns: rows.Columns, read: Callable[[rows.Table, text_files.Span | None], Iterator[T]]
) -> list[Callable[[], Iterator[T | Document]]]:
    """Return the parts as :func:`parts` does, with the given columns of text and id and the given reader of tables."""
    root = Path(config.path or "")
    found = _found(config).files
    sizes = {path: _size(path) for path in found}
    suffixes, splits = _table_suffixes(found), _split_folders(root, found)
    result: list[Callable[[], Iterator[T | Document]]] = []
    for is_table, group in groupby(found, lambda path: path == root or tables.is_table(path, suffixes)):
        if is_table:
            paths = list(group)
            spans = side_by_side(partial(tables.spans, size=_PART_BYTES), paths)
            for path in paths:
                table = rows.Table(path, _name(path, root), _split(path, root, splits), columns)
                result += [partial(read, table, span) for span in next(spans)]
        else:
            result += [partial(_text_files, paths, root, splits) for paths in _grouped_by_size(group, sizes)]
    return result


def _found(config: CorpusConfig) -> Folder:
    path = Path(config.path or "")
    utf8_name(path)
    if not path.exists():
        raise CorpusError(f"corpus.path={config.path} does not exist.", "give a file or a folder.")
    if path.is_file():
        return Folder(path.parent, [path])
    if not path.is_dir():  # a pipe or device, which would be waited for or has no end
        raise CorpusError(
            f"corpus.path={config.path} is neither a file nor a folder.", "write its rows to a file, and give that."
        )
    found = walk(path)
    suffixes = _table_suffixes(found.files)
    top_tables = [file for file in found.files if file.parent == path and tables.is_table(file, suffixes)]
    if top_tables and (others := sorted({*found.files} - {*top_tables})):
        found.left_out[_BESIDE_TABLES] = others
    found.files = top_tables or found.files
    if not found.files:
        raise CorpusError(f"corpus.path={config.path} is an empty folder.", "put text or table files there.")
    for file in found.files:
        utf8_name(file)
    return found


def _table_suffixes(files: Iterable[Path]) -> tuple[str, ...]:
    """Return the suffixes of tables among files. JSON may be anything, so it only counts if all files are JSON."""
    alone = all(tables.is_table(path, tables.JSON_SUFFIXES) for path in files)
    return tables.READ_SUFFIXES if alone else tables.ROW_SUFFIXES


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}.", "check the path and its permissions.") from error


def _split_folders(root: Path, files: Iterable[Path]) -> dict[str, str]:
    """Return the splits of the top folders by name; empty unless all folders are splits.

    Raises:
        CorpusError: One of the folders is train, and another one is no split.
    """
    inside = (path.relative_to(root).parts for path in files if path != root)
    tops = sorted({names[0] for names in inside if len(names) > 1})
    splits = {top: split for top in tops if (split := split_named(top))}
    others = [top for top in tops if top not in splits]
    if others and "train" in splits.values():
        raise CorpusError(
            f"{root} holds the folders {', '.join(splits)}, which are splits, beside {', '.join(others[:5])}, which "
            "are not: it is ambiguous whether folders are splits or labels.",
            "move the others below the splits, or rename the folder if it is a label.",
        )
    return {} if others else splits


def _split(path: Path, root: Path, splits: Mapping[str, str]) -> str:
    return splits.get(path.relative_to(root).parts[0], "") if splits and path != root else ""


def _name(path: Path, root: Path) -> str:
    """Return the path of a file below the folder, for ids."""
    return utf8_name(Path(path.name) if path == root else path.relative_to(root))


def utf8_name(path: Path) -> str:
    """Return a path as text with slashes, independently of the locale's encoding of file names.

    Raises:
        CorpusError: The bytes of the path are not UTF-8, so it can be neither an id nor a label.
    """
    raw = str(path).encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"the name of the file {raw!r} is not UTF-8.", "rename it, for instance with convmv."
        ) from error


def _grouped_by_size(paths: Iterable[Path], sizes: Mapping[Path, int]) -> Iterator[list[Path]]:
    """Group files, in order, to about the size of a part."""
    run: list[Path] = []
    total = 0
    for path in paths:
        run.append(path)
        total += sizes[path] + _FILE_COST
        if total >= _PART_BYTES:
            yield run
            run, total = [], 0
    if run:
        yield run


def _text_files(paths: list[Path], root: Path, splits: Mapping[str, str]) -> Iterator[Document]:
    return (_text_file(path, root, splits) for path in paths)


def _text_file(path: Path, root: Path, splits: Mapping[str, str]) -> Document:
    identity = _name(path, root)
    *folders, name = identity.split("/")
    folders = folders[1:] if splits else folders
    text = "".join(line for _, line in text_files.lines(path))
    labels = ("/".join(folders),) if folders else ()
    return Document(identity, text, labels, _split(path, root, splits), title=name, origin=utf8_name(path))
