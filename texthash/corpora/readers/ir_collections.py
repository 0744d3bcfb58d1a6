"""Test collections by their names in ``ir_datasets`` (MacAvaney et al., 2021): ``ir_datasets:beir/scifact``.

The library finds or downloads the files of a collection and checks their digests. Documents are the texts that it
gives them, the title first where there is one. Judgements are those of the named collection and of its parts ``train``,
``dev`` or ``validation``, and ``test``; a grade below 0 is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from texthash.config import CorpusConfig
from texthash.corpora.document import Document, split_named
from texthash.corpora.prepared.manifest import SourceFile
from texthash.corpora.qrels import Qrels
from texthash.corpora.readers.beir import Judgements
from texthash.errors import CorpusError, UsageError, out_of_space
from texthash.paths import COLLECTION_SCHEME, StateDir

_SPLITS = ("train", "dev", "validation", "test")


def files(config: CorpusConfig, home: StateDir) -> list[Path]:
    """Return no files: ``ir_datasets`` keeps them."""
    return []


def source_files(config: CorpusConfig, home: StateDir) -> list[SourceFile]:
    """Return the name in place of files, whose digests ``ir_datasets`` checks."""
    return [SourceFile(config.path or "", 0, "")]


def parts(config: CorpusConfig, home: StateDir) -> list[Callable[[], Iterator[Document]]]:
    """Return one part with all documents, in the order of the collection."""
    return [partial(_documents, _name(config))]


def judgements(config: CorpusConfig, home: StateDir) -> Judgements | None:
    """Return the queries and their judgements by split; None where the collection has no queries."""
    name = _name(config)
    found: dict[str, Qrels] = {}
    queries: dict[str, str] = {}
    with _explained(name):
        for split, dataset in _judged(name).items():
            for query in dataset.queries_iter():
                queries[query.query_id] = query.default_text()
            own = found.setdefault(split, {})
            for judged in dataset.qrels_iter():
                own.setdefault(judged.query_id, {})[judged.doc_id] = max(0, judged.relevance)
        unknown = {id_ for qrels in found.values() for own in qrels.values() for id_ in own}
        for document in _load(name).docs_iter():
            unknown.discard(document.doc_id)
    if not found:
        return None
    kept = {
        split: {
            query: {id_: grade for id_, grade in own.items() if id_ not in unknown}
            for query, own in qrels.items()
            if query in queries
        }
        for split, qrels in found.items()
    }
    notes = [f"{name}: judgements of {len(unknown):,} unknown documents are left out."] if unknown else []
    return Judgements(queries, kept, notes)


def notes(config: CorpusConfig, home: StateDir) -> list[str]:
    """Return a sentence that counts the judgements that are left out."""
    found = judgements(config, home)
    return found.notes if found else []


def _documents(name: str) -> Iterator[Document]:
    with _explained(name):
        for row, found in enumerate(_load(name).docs_iter(), 1):
            title = str(getattr(found, "title", "")).strip()
            yield Document(found.doc_id, found.default_text().strip(), title=title, origin=f"{name}:{row}")


def _judged(name: str) -> dict[str, Any]:
    """Return the named collection, if it has judgements, and its parts, by split."""
    import ir_datasets

    found: dict[str, Any] = {}
    own = _load(name)
    if own.has_qrels():
        found[split_named(name.rpartition("/")[2]) or "test"] = own
    for part in _SPLITS:
        split = split_named(part) or part
        if split not in found and f"{name}/{part}" in ir_datasets.registry:
            dataset = _load(f"{name}/{part}")
            if dataset.has_qrels():
                found[split] = dataset
    return found


def _load(name: str) -> Any:
    import ir_datasets

    try:
        return ir_datasets.load(name)
    except KeyError:
        raise CorpusError(
            f"ir_datasets has no collection {name!r}.", "look its name up on https://ir-datasets.com."
        ) from None


def _name(config: CorpusConfig) -> str:
    return (config.path or "").removeprefix(COLLECTION_SCHEME)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"{COLLECTION_SCHEME}{name} is read by ir_datasets, which is not installed: {error}.",
            'pip install "texthash[irdatasets]".',
        ) from error
    except (UsageError, CorpusError):
        raise
    except Exception as error:  # of the library, and of those that read the formats of collections
        if out_of_space(error):
            raise
        raise CorpusError(
            f"{COLLECTION_SCHEME}{name} cannot be read: {type(error).__name__}: {error}",
            "check the network, or put the files where ir_datasets looks for them (IR_DATASETS_HOME).",
        ) from error
