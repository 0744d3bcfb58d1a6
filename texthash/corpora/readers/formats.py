"""Choice of the reader of a user's own corpus."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from texthash.config import CorpusConfig
from texthash.corpora.readers import answer_selection, beir, dpr, hugging_face, ir_collections, own
from texthash.corpora.readers.tables import is_table
from texthash.paths import HUB_SCHEME, is_dataset

_READERS: dict[str, ModuleType] = {"rows": own, "dpr": dpr, "answers": answer_selection, "beir": beir}


def reader_of(config: CorpusConfig) -> ModuleType:
    """Return the reader of ``corpus.format``; without a format, the one that matches the files.

    A file is matched by its suffix and first row. A folder matches BEIR's layout by the names of its files, and a
    format of pairs if all its files do; otherwise it is read as rows or text. Datasets of libraries have readers
    of their own.
    """
    if is_dataset(config.path):
        return hugging_face if (config.path or "").startswith(HUB_SCHEME) else ir_collections
    return _READERS[config.format] if config.format else _detect(Path(config.path or ""))


def _detect(path: Path) -> ModuleType:
    if beir.is_beir(path):
        return beir
    files = [path] if path.is_file() else sorted(_visible(path)) if path.is_dir() else []
    if _all_end(files, answer_selection.SUFFIXES) and answer_selection.is_answers(files[0]):
        return answer_selection
    if _all_end(files, dpr.SUFFIXES) and dpr.is_dpr(files[0]):
        return dpr
    return own


def _all_end(files: list[Path], suffixes: tuple[str, ...]) -> bool:
    return bool(files) and all(is_table(file, suffixes) for file in files)


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]
