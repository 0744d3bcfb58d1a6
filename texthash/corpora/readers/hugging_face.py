"""Datasets of the Hugging Face Hub as a corpus of your own: ``hf://owner/name@revision?config=NAME&split=train,test``.

Rows are streamed through ``datasets`` and read as those of a table: :mod:`~texthash.corpora.readers.rows`. Numbers of a
``ClassLabel`` become names. The commit is part of the address of a prepared corpus, so that another one is never taken
for it. A token is read from ``HF_TOKEN``, or from the file of ``hf auth login``, by the library.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from texthash.config import CorpusConfig
from texthash.corpora.document import Document, split_named
from texthash.corpora.prepared.manifest import SourceFile
from texthash.corpora.readers import rows
from texthash.errors import CorpusError, UsageError, out_of_space
from texthash.paths import HUB_SCHEME, StateDir

_FORM = re.compile(r"(?P<repository>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[^?]+))?(\?(?P<query>.*))?")
_LONGEST_SHOWN = 300
_COMMIT = re.compile("[0-9a-f]{40}")
_REMEDY = (
    "check owner, name and revision; for a private one set HF_TOKEN; without a network give the commit of a prepared "
    "corpus (hf://owner/name@COMMIT), as its manifest names it, or a local file."
)


class Address(NamedTuple):
    """Address of a dataset.

    Attributes:
        repository: ``owner/name``.
        revision: Branch, tag or commit; None for the main branch.
        configuration: Configuration of the dataset; None for its default.
        splits: Splits to read; none for those that are named train, validation or test, or all if none is.
    """

    repository: str
    revision: str | None = None
    configuration: str | None = None
    splits: tuple[str, ...] = ()

    @classmethod
    def parse(cls, path: str) -> Address:
        """Return the address of a ``corpus.path``; raises :class:`UsageError` for one of another form."""
        found = _FORM.fullmatch(path.removeprefix(HUB_SCHEME))
        options = dict(parse_qsl(found["query"] or "", keep_blank_values=True)) if found else {}
        if found is None or {*options} - {"config", "split"} or not all(options.values()):
            raise UsageError(
                f"corpus.path={path} is not the address of a dataset.",
                "write hf://owner/name, hf://owner/name@revision or hf://owner/name?config=NAME&split=train,test.",
            )
        splits = tuple(filter(None, options.get("split", "").split(",")))
        return cls(found["repository"], found["revision"], options.get("config"), splits)

    def __str__(self) -> str:
        options = {"config": self.configuration, "split": ",".join(self.splits)}
        query = urlencode({name: value for name, value in options.items() if value}, safe=",")
        revision = f"@{self.revision}" if self.revision else ""
        return f"{HUB_SCHEME}{self.repository}{revision}{'?' if query else ''}{query}"


def pinned(path: str) -> str:
    """Return an address with the commit that its revision names now; one with a commit needs no network.

    The names of other datasets are returned unchanged.

    Raises:
        UsageError: The address has another form, or ``datasets`` is not installed.
        CorpusError: The Hub cannot be reached, or has no such dataset or revision for this user.
    """
    if not path.startswith(HUB_SCHEME):
        return path
    address = Address.parse(path)
    if address.revision and _COMMIT.fullmatch(address.revision):
        return str(address)
    with _explained(path):
        from huggingface_hub import HfApi

        commit = HfApi().dataset_info(address.repository, revision=address.revision).sha
    return str(address._replace(revision=commit))


def files(config: CorpusConfig, home: StateDir) -> list[Path]:
    """Return no files: rows are streamed."""
    return []


def source_files(config: CorpusConfig, home: StateDir) -> list[SourceFile]:
    """Return the commit in place of files, whose content it determines."""
    address = Address.parse(config.path or "")
    return [SourceFile(f"{address.repository}@{address.revision}", 0, "")]


def notes(config: CorpusConfig, home: StateDir) -> list[str]:
    """Return a sentence that names the splits that are not read."""
    address = Address.parse(config.path or "")
    every, read = _splits(address)
    others = [split for split in every if split not in read]
    return [f"{address}: the splits {', '.join(others)} are not read; name them as ?split=."] if others else []


def parts(config: CorpusConfig, home: StateDir) -> list[Callable[[], Iterator[Document]]]:
    """Return the shards of each split, in order, which are read independently."""
    address = Address.parse(config.path or "")
    columns = rows.Columns.of(config)
    found: list[Callable[[], Iterator[Document]]] = []
    for split in _splits(address)[1]:
        with _explained(str(address)):
            count = _open(address, split).num_shards
        found += [partial(_documents, address, columns, split, number, count) for number in range(count)]
    return found


def _splits(address: Address) -> tuple[list[str], list[str]]:
    """Return the names of all splits, and of those to read."""
    with _explained(str(address)):
        from datasets import get_dataset_split_names

        _check_no_folder(address)
        every = get_dataset_split_names(address.repository, address.configuration, revision=address.revision)
    if missing := [split for split in address.splits if split not in every]:
        raise CorpusError(f"{address}: there is no split {missing[0]!r}.", f"name some of {', '.join(every)}.")
    return every, list(address.splits) or [split for split in every if split_named(split)] or every


def _open(address: Address, split: str) -> Any:
    from datasets import load_dataset

    _check_no_folder(address)
    return load_dataset(
        address.repository, address.configuration, split=split, revision=address.revision, streaming=True
    )


def _check_no_folder(address: Address) -> None:
    """Raise :class:`UsageError` where ``datasets`` would read a folder of the working directory in place of the Hub."""
    if os.path.lexists(address.repository):
        raise UsageError(
            f"{Path(address.repository).absolute()} exists, and datasets would read it in place of {address}.",
            "run the command in another directory, or name the folder itself in corpus.path.",
        )


def _documents(address: Address, columns: rows.Columns, split: str, number: int, count: int) -> Iterator[Document]:
    """Yield the documents of a shard; ids of rows without one are split, shard and row."""
    place = f"{address.repository}/{split}/{number}"
    table = rows.Table(Path(place), f"{split}/{number}", split_named(split) or "", columns)
    with _explained(str(address)):
        dataset = _open(address, split).shard(count, number)
        named = _class_labels(dataset.features, columns)
        for line, row in enumerate(dataset, 1):
            yield rows.document(row | {column: names(row[column]) for column, names in named.items()}, table, line)


def _class_labels(features: Any, columns: rows.Columns) -> dict[str, Callable[[Any], Any]]:
    """Return, by column, the functions from the numbers of a ``ClassLabel`` to names; -1 means that there is none."""
    found: dict[str, Callable[[Any], Any]] = {}
    for column in ("label", "labels") if columns.labels is None else (columns.labels,):
        feature = (features or {}).get(column)
        inner = getattr(feature, "feature", feature)
        if hasattr(inner, "int2str"):
            found[column] = partial(_named, inner)
    return found


def _named(feature: Any, value: Any) -> Any:
    if isinstance(value, list):
        return [_named(feature, one) for one in value]
    return None if value is None or value < 0 else feature.int2str(value)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Explain what ``datasets`` and the Hub refuse; their messages name addresses, never a token.

    What they raise over a damaged dataset or answer is of many types, also of the libraries below them.
    """
    try:
        yield
    except (UsageError, CorpusError):
        raise
    except ImportError as error:
        raise UsageError(
            f"{path} is read by datasets, which is not installed: {error}.", 'pip install "texthash[datasets]".'
        ) from error
    except Exception as error:
        if out_of_space(error):
            raise
        raise CorpusError(f"{path} cannot be read: {_said(error)}", _REMEDY) from error


def _said(error: BaseException) -> str:
    """Return the message of an error, and of what has caused it first, which says more."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    said = [f"{type(one).__name__}: {shorten(str(one), _LONGEST_SHOWN)}" for one in dict.fromkeys((error, first))]
    return "; caused by ".join(said)
