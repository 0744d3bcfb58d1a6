"""From documents to a prepared corpus, as pure steps over numbered chunks and shards.

1. :meth:`Staging.read` writes the documents in chunks and decides splits (one process: readers are sequential).
2. :func:`count_words` cuts one chunk into words, numbered within the chunk, and counts its training documents.
3. :func:`merge_counts` and :func:`choose_vocabulary` make the vocabulary, from train only.
4. :func:`write_shard` renumbers words and writes one Parquet shard.
5. :func:`publish` adds vocabulary and manifest and renames the whole into place.

What a chunk and a shard hold depends on the documents and the configuration alone, so the bytes do not depend on who
does which. :func:`prepare_locally` runs the steps in this process; ``distributed.prepare`` on Ray Data.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from texthash.config import CorpusConfig, Edition
from texthash.corpora.catalog import Source, open_source
from texthash.corpora.dataset import VOCABULARY
from texthash.corpora.document import SPLITS
from texthash.corpora.manifest import MANIFEST, Manifest, SourceFile, SplitCounts, config_hash
from texthash.corpora.ragged import to_arrow
from texthash.corpora.shards import ShardWriter
from texthash.corpora.splits import TRAIN
from texthash.corpora.staging import Reading, Staging
from texthash.corpora.storage import exclusive, read_arrow, read_json, whole, write_arrow
from texthash.corpora.text import Analyzer, Vocabulary
from texthash.errors import CorpusError
from texthash.home import Home
from texthash.progress import say, track

_MERGE_ROWS = 2_000_000

CountChunks = Callable[[Staging, list[int]], Iterable[pa.Table]]
WriteShards = Callable[[Staging, list[tuple[str, int]]], Iterable[object]]


def prepare_locally(config: CorpusConfig, home: Home) -> Path:
    """Prepare a corpus in this process and return its directory; one that is prepared already is reused.

    Raises:
        CorpusError: naming what is wrong with the source, the edition or the disk.
    """

    def count(staging: Staging, chunks: list[int]) -> Iterator[pa.Table]:
        return (count_words(staging, chunk) for chunk in chunks)

    def write(staging: Staging, shards: list[tuple[str, int]]) -> Iterator[object]:
        writer = ShardWriter(staging)
        for split, number in shards:
            writer.write(split, number)
            yield split, number

    return run(config, home, count, write)


def run(config: CorpusConfig, home: Home, count: CountChunks, write: WriteShards) -> Path:
    """The order of the steps; ``count`` and ``write`` say who does them."""
    config = resolve(config)
    target = home.corpus(config.name, config.edition.name)
    source = open_source(config, home)
    with _explained(target), exclusive(target.with_name(f".{target.name}.lock")):
        if target.exists():
            source.check_unchanged(_reusable(target, config))
            say(f"{target} is prepared already")
            return target
        staging = Staging(target.with_name(f".{target.name}.{config_hash(config)[:16]}"), config)
        files = source.files()
        reading = staging.reading() if staging.is_read(files) else staging.read(source.documents(), files)
        train = int((staging.splits() == TRAIN).sum())
        if not staging.vocabulary.exists():
            chunks = list(range(reading.chunks))
            tables = track(count(staging, chunks), "counting words", len(chunks))
            vocabulary = choose_vocabulary(merge_counts(tables), train, config.edition)
            with whole(staging.vocabulary) as partial:
                partial.write_text(vocabulary.to_json(), encoding="utf-8")
        shards = [(split, number) for split in SPLITS for number in range(config.shards)]
        todo = [shard for shard in shards if not staging.shard_counts(*shard).exists()]
        if todo:
            for _ in track(write(staging, todo), "writing shards", len(todo)):
                pass
        return publish(staging, reading, source, files, target)


def resolve(config: CorpusConfig) -> CorpusConfig:
    """The configuration with absolute paths; a limited corpus gets an edition name of its own, so that a quick trial
    is never taken for the whole."""
    changes: dict[str, object] = {}
    if config.path is not None:
        changes["path"] = os.path.abspath(os.path.expanduser(config.path))
    if config.limit is not None and not config.edition.name.endswith(f"-first{config.limit}"):
        name = f"{config.edition.name}-first{config.limit}"
        changes["edition"] = config.edition.model_copy(update={"name": name})
    return config.model_copy(update=changes)


def count_words(staging: Staging, chunk: int) -> pa.Table:
    """Step 2. Returns ``term``, ``documents`` and ``occurrences`` over the training documents of one chunk."""
    if staging.terms(chunk).exists():
        return read_arrow(staging.terms(chunk), ["term", "documents", "occurrences"])
    texts = read_arrow(staging.documents(chunk), ["text"])["text"].to_pylist()
    indptr, ids, terms = Analyzer.from_edition(staging.config.edition).intern(texts)
    write_arrow(staging.words(chunk), pa.table({"words": to_arrow(indptr, ids)}))
    start, end = staging.reading().starts[chunk : chunk + 2]
    train = np.asarray(staging.splits()[start:end]) == TRAIN
    bags = csr_matrix((np.ones(len(ids), np.int64), ids, indptr), shape=(len(texts), len(terms)))[train]
    bags.sum_duplicates()
    table = pa.table(
        {
            "term": pa.array(terms, pa.string()),
            "documents": np.bincount(bags.indices, minlength=len(terms)),
            "occurrences": np.bincount(bags.indices, bags.data, minlength=len(terms)).astype(np.int64),
        }
    )
    write_arrow(staging.terms(chunk), table)
    return table


def merge_counts(tables: Iterable[pa.Table]) -> pa.Table:
    """Step 3a. Sum per word over all chunks, sorted by word. Memory grows with the vocabulary, not the corpus."""
    merged: pa.Table | None = None
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(len(part) for part in waiting) >= _MERGE_ROWS:
            merged, waiting = _summed([merged, *waiting] if merged else waiting), []
    total = _summed([merged, *waiting] if merged else waiting)
    return total.filter(pc.greater(total["documents"], 0)).sort_by("term")


def choose_vocabulary(counts: pa.Table, documents: int, edition: Edition) -> Vocabulary:
    """Step 3b. Exactly the words that scikit-learn's ``CountVectorizer`` keeps, in its order.

    Args:
        counts: ``term`` (sorted), ``documents``, ``occurrences`` over train.
        documents: Number of training documents.
        edition: ``min_df``, ``max_df`` and ``vocabulary_size``, as scikit-learn's ``max_features``.

    Raises:
        CorpusError: when no word is left.
    """
    df, tf = counts["documents"].to_numpy(), counts["occurrences"].to_numpy()
    low, high = (
        limit if isinstance(limit, Integral) else limit * documents for limit in (edition.min_df, edition.max_df)
    )
    mask = (df >= low) & (df <= high)
    limit = edition.vocabulary_size
    if limit is not None and mask.sum() > limit:
        # As in CountVectorizer._limit_features: the same sort of the same array leaves the same words among equals.
        most_frequent = (-tf[mask]).argsort()[:limit]
        mask = np.isin(np.arange(len(df)), np.flatnonzero(mask)[most_frequent])
    if not mask.any():
        raise CorpusError(
            f"no word of {len(counts)} in {documents} training documents is left with min_df={edition.min_df}, "
            f"max_df={edition.max_df}, stop_words={edition.stop_words}.",
            "lower corpus.edition.min_df or raise max_df."
            if len(counts)
            else "check the texts, corpus.edition.token_pattern and stop_words.",
        )
    terms = counts["term"].filter(pa.array(mask)).to_pylist()
    return Vocabulary(terms, df[mask], documents, int(tf[mask].sum()))


def publish(staging: Staging, reading: Reading, source: Source, files: list[SourceFile], target: Path) -> Path:
    """Step 5. Write what describes the corpus and give it its name; nothing is visible under it before."""
    config = staging.config
    vocabulary = Vocabulary.from_json(staging.vocabulary.read_text(encoding="utf-8"))
    dropped = Counter(reading.dropped)
    splits: dict[str, SplitCounts] = {}
    labels_per_document = 0
    for split in SPLITS:
        parts = [read_json(staging.shard_counts(split, number)) for number in range(config.shards)]
        names = ("documents", "words", "tokens", "labels")
        splits[split] = SplitCounts(**{name: sum(part[name] for part in parts) for name in names})
        labels_per_document = max(labels_per_document, *(part["labels_per_document"] for part in parts))
        for part in parts:
            dropped.update(part["dropped"])
        if splits[split].documents == 0:
            raise CorpusError(
                f"no document of the split {split} is left: {dict(dropped)}.",
                "relax corpus.edition.min_tokens, max_tokens or the vocabulary.",
            )
    warnings = _warnings(reading, splits)
    manifest = Manifest(
        name=config.name,
        config=config,
        splits=splits,
        dropped=dict(sorted(dropped.items())),
        remarks=reading.remarks,
        label_names=reading.label_names,
        label_parents=source.label_parents(),
        multi_label=labels_per_document > 1,
        vocabulary_hash=vocabulary.hash,
        source_checksum=reading.checksum,
        source_files=files,
        warnings=warnings,
    )
    (staging.output / VOCABULARY).write_text(vocabulary.to_json(), encoding="utf-8")
    (staging.output / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    staging.output.rename(target)
    shutil.rmtree(staging.root)
    for warning in warnings:
        say(f"warning: {warning}")
    sizes = f"{manifest.documents}, {len(vocabulary)} words, left out {manifest.dropped}"
    say(f"prepared {config.name}/{config.edition.name}: {sizes}")
    return target


def _warnings(reading: Reading, splits: dict[str, SplitCounts]) -> list[str]:
    found = []
    if not reading.label_names:
        found.append("no document has a label: relevance cannot be measured.")
    elif len(reading.label_names) == 1:
        found.append(f"all labels are {reading.label_names[0]!r}: every document is relevant to every other.")
    return found


def _reusable(target: Path, config: CorpusConfig) -> Manifest:
    manifest = Manifest.read(target)
    if manifest.config_hash == config_hash(config):
        return manifest
    then, now = (dict(_flat(c.model_dump(mode="json"))) for c in (manifest.config, config))
    differences = [f"{key}={then.get(key)!r} then, {now.get(key)!r} now" for key in now if then.get(key) != now[key]]
    differences = [text for text in differences if not text.startswith("data_dir=")]
    raise CorpusError(
        f"{target} was prepared otherwise: {'; '.join(differences)}.",
        f"name the new edition (corpus.edition.name=...), or delete {target}.",
    )


def _flat(value: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CorpusError(
            f"preparing {target} failed: {error}",
            "make room or give access, then start again: what is finished is kept.",
        ) from error


def _summed(tables: list[pa.Table]) -> pa.Table:
    if not tables:
        return pa.table(
            {
                "term": pa.array([], pa.string()),
                "documents": np.empty(0, np.int64),
                "occurrences": np.empty(0, np.int64),
            }
        )
    totals = pa.concat_tables(tables).group_by("term").aggregate([("documents", "sum"), ("occurrences", "sum")])
    return totals.rename_columns(["term", "documents", "occurrences"])
