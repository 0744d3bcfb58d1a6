"""Saved models and prepared corpora by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from texthash.arguments import shown
from texthash.config import CorpusConfig, Edition
from texthash.errors import UsageError
from texthash.paths import check_path

if TYPE_CHECKING:
    from texthash.corpora.prepared.corpus import PreparedCorpus
    from texthash.models.hasher import Hasher

_REGISTRY = "models:/"


def load(name: str | Path) -> Hasher:
    """Load a model.

    Args:
        name: Directory that ``Hasher.save`` wrote; or, in the state directory (``TEXTHASH_HOME``), name of a trained
            model or ``latest``, ``released`` for the one that is served, or a registered one:
            ``models:/NAME@champion`` or ``models:/NAME/VERSION``.

    Raises:
        TexthashError: There is no such model.
        ModelMismatchError: Its files are missing or do not belong together.
    """
    from texthash.models.files import RECORD
    from texthash.models.hasher import Hasher

    check_path("name", name)
    if Path(name, RECORD).is_file():
        return Hasher.load(name)
    from texthash.deployment.model_refs import saved_hasher
    from texthash.paths import resolve_home

    return Hasher.load(saved_hasher(resolve_home(), str(name).removeprefix(_REGISTRY)))


def prepare(
    name: str = "pydoc", path: str | Path | None = None, *, edition: Edition | None = None, **settings: Any
) -> PreparedCorpus:
    """Prepare a corpus in this process, or open it if it is prepared already.

    Args:
        name: Name of a corpus of ``texthash corpora``, or a new name for your own corpus.
        path: Path of your own corpus: JSONL, CSV, Parquet or a folder of text; or ``hf://owner/name``,
            ``ir_datasets:beir/scifact``.
        edition: Rules for words, vocabulary and splits.
        settings: Other keys of the section ``corpus`` of the configuration, such as ``limit=1000``.

    Raises:
        UsageError: A setting does not exist.
        CorpusError: The source cannot be read, or does not fit the edition.
    """
    from texthash.config import parse_section
    from texthash.corpora.preparation.steps import prepare_corpus
    from texthash.corpora.prepared.corpus import PreparedCorpus
    from texthash.paths import resolve_home

    if path is None and "/" in str(name):
        raise UsageError(
            f"name={shown(name)} is a path or an address.",
            f"give it as path, beside a name: texthash.prepare('mine', path={str(name)!r}).",
        )
    if path is not None:
        check_path("path", path)
    values = {"name": name, "path": None if path is None else str(path), **settings}
    if edition is not None:
        check_edition(edition)
        values["edition"] = edition.model_dump()
    return PreparedCorpus.open(prepare_corpus(parse_section(CorpusConfig, values, "corpus"), resolve_home()))


def check_edition(edition: Any) -> None:
    """Raise :class:`UsageError` unless this is an edition."""
    if not isinstance(edition, Edition):
        raise UsageError(
            f"edition is {shown(edition)}, a {type(edition).__name__}.",
            "give texthash.config.Edition(...), such as Edition(stemmer='porter').",
        )


def open_corpus(name: str | Path, edition: str | None = None) -> PreparedCorpus:
    """Open a prepared corpus.

    Args:
        name: Name of the corpus in the state directory, or path of its directory.
        edition: Name of the edition; may be None if there is only one.

    Raises:
        UsageError: There are several editions, and ``edition`` is None.
        CorpusError: There is no such prepared corpus.
    """
    from texthash.corpora.prepared.corpus import PreparedCorpus
    from texthash.corpora.prepared.manifest import MANIFEST
    from texthash.io.listing import matching
    from texthash.paths import resolve_home

    check_path("name", name)
    if edition is not None:
        check_path("edition", edition)
    if Path(name, MANIFEST).is_file():
        return PreparedCorpus.open(Path(name))
    home = resolve_home()
    if edition is None:
        folder = home.corpus(str(name), "x").parent
        found = [path.parent.name for path in matching(folder, f"*/{MANIFEST}") if path.exists()]
        if len(found) > 1:
            raise UsageError(f"{name} has the editions {', '.join(found)}.", "name one: open_corpus(name, edition).")
        edition = found[0] if found else Edition().name
    return PreparedCorpus.open(home.corpus(str(name), edition))
