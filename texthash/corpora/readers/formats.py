"""Who reads a corpus of one's own."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from texthash.config import CorpusConfig
from texthash.corpora.readers import answer_selection, dpr, own

_READERS: dict[str, ModuleType] = {"rows": own, "dpr": dpr, "answers": answer_selection}


def reader_of(config: CorpusConfig) -> ModuleType:
    """The reader that ``corpus.format`` names; where it names none, the one that the files look like.

    Of a file the ending decides, in JSONL its first row; a folder has to hold nothing but files of one such form, else
    it is one of rows or of text.
    """
    return _READERS[config.format] if config.format else _look(Path(config.path or ""))


def _look(path: Path) -> ModuleType:
    files = [path] if path.is_file() else sorted(_visible(path)) if path.is_dir() else []
    names = [file.name.lower() for file in files]
    if files and all(name.endswith(answer_selection.SUFFIXES) for name in names):
        return answer_selection
    if files and all(name.endswith(dpr.SUFFIXES) for name in names) and dpr.is_dpr(files[0]):
        return dpr
    return own


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]
