"""Search for the files of a corpus: ``corpus.data_dir``, else ``TEXTHASH_DATA``, else the download cache."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

from texthash.config import CorpusConfig
from texthash.corpora.corpus_record import CorpusRecord
from texthash.errors import CorpusError
from texthash.io.listing import matching
from texthash.io.object_store_cache import mirrored
from texthash.paths import DATA_VARIABLE, StateDir, as_path


def find_files(
    name: str, official: tuple[str, ...] | list[tuple[str, ...]], config: CorpusConfig, home: StateDir
) -> list[Path]:
    """Return the official files of a corpus, else its ``<name>*.jsonl.gz`` of canonical rows, of the first folder.

    Args:
        name: Name of the corpus.
        official: Paths as the owner publishes them, all of which have to exist; or a list of such forms, the preferred
            one first. A path is searched below the folder itself, then below each of its sub-folders ``<name>*``
            (``reuters21578/reut2-000.sgm``), and each file plain, then gzipped (``reut2-000.sgm.gz``).
        config: Configuration of the corpus, with its data folder.
        home: State directory, with the download cache.

    Returns:
        Files in the order of the form, or files of rows sorted by name; empty if no folder has them. Files in an object
        store are fetched to this node.

    Raises:
        CorpusError: The configured data folder does not exist.
    """
    forms = official if isinstance(official, list) else [official] if official else []
    for source in folders(config.data_dir, home):
        below = [source, *(folder for folder in matching(source, f"{name}*") if folder.is_dir())]
        for form, folder in product(forms, below):
            published = [_plain_or_gzipped(folder / file) for file in form]
            if all(file.is_file() for file in published):
                return [mirrored(file, home) for file in published]
        if found := matching(source, f"{name}*.jsonl.gz"):
            return [mirrored(file, home) for file in found]
    return []


def _plain_or_gzipped(path: Path) -> Path:
    return path if path.is_file() else path.with_name(f"{path.name}.gz")


def folders(data_dir: str | None, home: StateDir) -> list[Path]:
    """Return the folders in which files are searched, the first one first; raises :class:`CorpusError`."""
    named = data_dir or os.environ.get(DATA_VARIABLE)
    if not named:
        return [home.downloads]
    folder = as_path(named)
    if not folder.is_dir():
        origin = "corpus.data_dir" if data_dir else DATA_VARIABLE
        raise CorpusError(f"{origin}={named} is not a folder.", "name the folder that holds the official files.")
    return [folder, home.downloads]


def missing(record: CorpusRecord, config: CorpusConfig, home: StateDir) -> CorpusError:
    """Return the error of a reader whose corpus is not available: its files, their source and the searched folders."""
    searched = folders(config.data_dir, home)
    files = ", ".join(download.file for download in record.downloads) or "official files"
    problem = (
        f"the corpus {record.name} is not available: neither {files} nor {record.name}*.jsonl.gz (canonical rows) in "
        f"{' or '.join(map(str, searched))}."
    )
    by_hand = f"put the files into {searched[0]}, or into the folder that corpus.data_dir or {DATA_VARIABLE} names"
    if not record.downloads:
        return CorpusError(problem, f"{record.how_to_get or f'get them from {record.source}'} Then {by_hand}.")
    urls = ", ".join(f"{download.file} from {download.url}" for download in record.downloads)
    return CorpusError(problem, f"run `texthash corpora fetch {record.name}`; or get {urls}, and {by_hand}.")
