"""A corpus of one's own: a file or folder of JSONL, CSV, TSV, JSON or Parquet, or a folder of text whose subfolders are
labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path

from texthash.config import CorpusConfig
from texthash.corpora.document import Document, split_named
from texthash.corpora.readers import rows, tables, text_files
from texthash.corpora.readers.folders import Folder, walk
from texthash.errors import CorpusError
from texthash.io.atomic import side_by_side
from texthash.paths import StateDir

ReadTable = Callable[[rows.Table, text_files.Span | None], Iterator[Document]]

# Bytes of a part, which a worker holds at a time: whatever the size of the corpus, its memory is the same.
_PART_BYTES = 3_000_000
_FILE_COST = 4096
_BESIDE_TABLES = "tables lie beside them, which alone are read"


def files(config: CorpusConfig, home: StateDir) -> list[Path]:
    """Return the files of ``config.path``, sorted by name: its tables if it has any, else all its files that are not
    hidden.

    Raises:
        CorpusError: if there is nothing to read, or a folder that cannot be read.
    """
    return _found(config).files


def notes(config: CorpusConfig, home: StateDir) -> list[str]:
    """Say what is left out of a folder, how many and which."""
    return _found(config).notes()


def parts(config: CorpusConfig, home: StateDir) -> list[Callable[[], Iterator[Document]]]:
    """Return pieces of all files, in order: ranges of JSONL, row groups of Parquet, whole files of other tables, and
    some files of text together.

    In a folder of text each file is a document, the path below the folder its id, the folder it lies in its label.
    Where the folders at the top are called train, validation and test, or as else these are called, they are splits.
    """
    return pieces(config, rows.Columns(text=config.text), rows.documents)


def pieces(config: CorpusConfig, columns: rows.Columns, read: ReadTable) -> list[Callable[[], Iterator[Document]]]:
    """Return as :func:`parts`, where rows have text and id in ``columns`` and tables are read by ``read``."""
    root = Path(config.path or "")
    found = _found(config).files
    sizes = {path: _size(path) for path in found}
    suffixes, splits = _table_suffixes(found), _split_folders(root, found)
    result: list[Callable[[], Iterator[Document]]] = []
    for is_table, group in groupby(found, lambda path: path == root or tables.is_table(path, suffixes)):
        if is_table:
            lying = list(group)
            spans = side_by_side(partial(tables.spans, size=_PART_BYTES), lying)
            for path in lying:
                table = rows.Table(path, _name(path, root), _split(path, root, splits), columns)
                result += [partial(read, table, span) for span in next(spans)]
        else:
            result += [partial(_text_files, together, root, splits) for together in _together(group, sizes)]
    return result


def _found(config: CorpusConfig) -> Folder:
    path = Path(config.path or "")
    utf8_name(path)
    if not path.exists():
        raise CorpusError(f"corpus.path={config.path} does not exist.", "give a file or a folder.")
    if path.is_file():
        return Folder(path.parent, [path])
    found = walk(path)
    suffixes = _table_suffixes(found.files)
    lying = [file for file in found.files if file.parent == path and tables.is_table(file, suffixes)]
    if lying and (others := sorted({*found.files} - {*lying})):
        found.left_out[_BESIDE_TABLES] = others
    found.files = lying or found.files
    if not found.files:
        raise CorpusError(f"corpus.path={config.path} is an empty folder.", "put text or table files there.")
    for file in found.files:
        utf8_name(file)
    return found


def _table_suffixes(files: Iterable[Path]) -> tuple[str, ...]:
    """Endings of the tables among some files. A file of JSON may be anything, so it is one where all are of JSON."""
    alone = all(tables.is_table(path, tables.JSON_SUFFIXES) for path in files)
    return tables.READ_SUFFIXES if alone else tables.ROW_SUFFIXES


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}.", "check the path and its permissions.") from error


def _split_folders(root: Path, files: Iterable[Path]) -> dict[str, str]:
    """Splits that the folders at the top stand for, by name: all of them, or none.

    Raises:
        CorpusError: one means train, and beside it lies one that is no split.
    """
    inside = (path.relative_to(root).parts for path in files if path != root)
    tops = sorted({names[0] for names in inside if len(names) > 1})
    splits = {top: split for top in tops if (split := split_named(top))}
    others = [top for top in tops if top not in splits]
    if others and "train" in splits.values():
        raise CorpusError(
            f"{root} holds the folders {', '.join(splits)}, which are splits, beside {', '.join(others[:5])}, which "
            "are none: whether folders are splits or labels cannot be told.",
            "move the others below the splits, or rename the folder if it is a label.",
        )
    return {} if others else splits


def _split(path: Path, root: Path, splits: Mapping[str, str]) -> str:
    return splits.get(path.relative_to(root).parts[0], "") if splits and path != root else ""


def _name(path: Path, root: Path) -> str:
    """How a file is called in ids: its path below the folder."""
    return utf8_name(Path(path.name) if path == root else path.relative_to(root))


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


def _together(paths: Iterable[Path], sizes: Mapping[Path, int]) -> Iterator[list[Path]]:
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


def _text_files(paths: list[Path], root: Path, splits: Mapping[str, str]) -> Iterator[Document]:
    return (_text_file(path, root, splits) for path in paths)


def _text_file(path: Path, root: Path, splits: Mapping[str, str]) -> Document:
    identity = _name(path, root)
    *folders, name = identity.split("/")
    folders = folders[1:] if splits else folders
    text = "".join(line for _, line in text_files.lines(path))
    labels = ("/".join(folders),) if folders else ()
    return Document(identity, text, labels, _split(path, root, splits), title=name, origin=utf8_name(path))
