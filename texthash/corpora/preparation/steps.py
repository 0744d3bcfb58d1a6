"""Preparation of a corpus, as pure steps over numbered parts, chunks and shards.

1. :func:`~.reading.read_part` reads a part of the corpus into chunks and tokenises them;
   :meth:`Staging.gather` merges the parts and assigns the splits.
2. :func:`~.vocabulary.count_words` counts the words in the training documents of a group of chunks.
3. :func:`~.vocabulary.choose_vocabulary` selects the vocabulary from all counts.
4. :func:`~.shards.write_shards` renumbers words and writes one Parquet shard of each split.
5. :func:`publish` adds vocabulary and manifest and renames the directory.

What a part, a chunk and a shard hold depends on the source and the configuration alone, so the bytes do not depend on
who does which: an :class:`~texthash.executor.Executor` runs the tasks of 1, 2 and 4, in this process or on a cluster.
Tasks name what they read and write, so Ray's object store holds no text. Memory grows with the vocabulary and with
17 bytes a document, not with the text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from texthash.config import CorpusConfig
from texthash.corpora.catalog import Source, open_source
from texthash.corpora.document import SPLITS
from texthash.corpora.preparation.reading import read_part
from texthash.corpora.preparation.shards import ShardSizes, read_sizes, write_shards
from texthash.corpora.preparation.staging import Reading, Staging
from texthash.corpora.preparation.vocabulary import choose_vocabulary, count_words, merge_counts
from texthash.corpora.prepared.corpus import VOCABULARY
from texthash.corpora.prepared.manifest import MANIFEST, Manifest, PairCounts, SourceFile, SplitCounts, config_hash
from texthash.corpora.readers.beir import Judgements, write_judgements
from texthash.corpora.readers.hugging_face import pinned
from texthash.corpora.words import Vocabulary
from texthash.errors import CorpusError, StorageUnavailableError, as_user_error
from texthash.executor import Executor, LocalExecutor
from texthash.io.atomic import (
    is_local,
    is_published,
    publish_directory,
    read_arrow,
    read_parquet,
    remove_directory,
    write_arrow,
    write_text,
)
from texthash.io.claims import turn
from texthash.io.ragged import from_arrow, indptr_of
from texthash.paths import StateDir, as_path, is_dataset
from texthash.progress import log_line, track, warn

# Number of chunks that are counted together: many share most words, and few enough keep all workers busy.
_GROUP, GROUPS = 8, 512
JUDGED = "judged"  # folder of the queries and judgements of a test collection
_NAMED = 5


def prepare_corpus(
    config: CorpusConfig, home: StateDir, executor: Executor = LocalExecutor(), *, labels_expected: bool = True
) -> Path:
    """Prepare a corpus and return its directory; one that is prepared already is reused.

    What an interrupted run finished is not done again.

    Args:
        config: Corpus and edition.
        home: State directory; on a cluster its store has to be seen by all nodes.
        executor: Runs the tasks.
        labels_expected: Whether it is a warning that no document has a label.

    Raises:
        CorpusError: naming what is wrong with the source, the edition or the disk.
    """
    config = resolve(config)
    home.make()
    target = home.corpus(config.name, config.edition.name)
    source = open_source(config, home)
    with _explained(target), _alone(target, home):
        if is_published(target, MANIFEST):
            source.check_unchanged(_reusable(target, config))
            log_line(f"{target} is prepared already")
            return target
        staging = Staging(target.with_name(f".{target.name}.{config_hash(config)[:16]}"), config)
        files = source.files()
        reading = staging.reading() if staging.is_read(files) else _read(staging, source, files, executor)
        if not staging.vocabulary.exists():
            _count(staging, reading, executor)
        todo = [number for number in range(config.shards) if not staging.shard_sizes(number).exists()]
        tasks = [{"number": number} for number in todo]
        for _ in track(executor.map(partial(write_shards, staging), tasks), "writing shards", len(todo)):
            pass
        return publish(staging, reading, source, files, target, labels_expected=labels_expected)


@contextmanager
def _alone(target: Path, home: StateDir) -> Iterator[None]:
    """Wait until no other process prepares the corpus; for one that is prepared there is nothing to wait for.

    In a store beside a state directory nobody is waited for, as it may have no conditional writes: all write the same.
    """
    if is_published(target, MANIFEST) or not (is_local(target) or home.state_name):
        yield
        return
    with turn(target.with_name(f".{target.name}.lock")):
        yield


def _read(staging: Staging, source: Source, files: list[SourceFile], executor: Executor) -> Reading:
    parts = source.parts()
    staging.begin(files, len(parts))
    tasks = [{"number": number, "part": part} for number, part in enumerate(parts)]
    for _ in track(executor.map(partial(read_part, staging), tasks), "reading documents", len(tasks), int):
        pass
    return staging.gather(len(parts))


def _count(staging: Staging, reading: Reading, executor: Executor) -> None:
    size = max(_GROUP, len(reading.chunks) // GROUPS)
    groups = [reading.chunks[start : start + size] for start in range(0, len(reading.chunks), size)]
    tasks = [{"group": number, "chunks": chunks} for number, chunks in enumerate(groups)]
    for _ in track(executor.map(partial(count_words, staging), tasks), "counting words", len(tasks)):
        pass
    counts = merge_counts(read_arrow(staging.frequencies(number)) for number in range(len(groups)))
    vocabulary = choose_vocabulary(counts, reading.documents("train"), staging.config.edition)
    write_arrow(staging.terms_known, pa.table({"term": pa.array(vocabulary.terms, pa.string())}))
    write_text(staging.vocabulary, vocabulary.to_json())


def resolve(config: CorpusConfig) -> CorpusConfig:
    """Return the configuration with absolute paths, the commit of a dataset, and the edition name of a limited corpus.

    That name differs from the edition's own, so that a quick trial is never mistaken for the whole corpus.
    """
    changes: dict[str, object] = {}
    if config.path is not None:
        changes["path"] = pinned(config.path) if is_dataset(config.path) else str(as_path(config.path))
    if config.limit is not None and not config.edition.name.endswith(f"-first{config.limit}"):
        name = f"{config.edition.name}-first{config.limit}"
        changes["edition"] = {"name": name}
    return config.derive(**changes)


def publish(
    staging: Staging,
    reading: Reading,
    source: Source,
    files: list[SourceFile],
    target: Path,
    *,
    labels_expected: bool = True,
) -> Path:
    """Write vocabulary and manifest and rename the directory, which is not visible before (step 5)."""
    config = staging.config
    vocabulary = Vocabulary.read(staging.vocabulary, staging.remedy)
    shards = [read_sizes(staging, number) for number in range(config.shards)]
    dropped = Counter(reading.dropped)
    splits: dict[str, SplitCounts] = {}
    for split in SPLITS:
        parts = [shard[split] for shard in shards]
        names = ("documents", "words", "tokens", "labels")
        splits[split] = SplitCounts(**{name: sum(getattr(part, name) for part in parts) for name in names})
        for part in parts:
            dropped.update(part.dropped)
        if splits[split].documents == 0:
            raise CorpusError(
                f"no document of the split {split} is left: {dict(dropped)}.",
                "relax corpus.edition.min_tokens, max_tokens or the vocabulary.",
            )
    judgements = source.judgements()
    warnings = [*source.shortfall(reading.seen), *source.notes(), *reading.fit.hints(config.edition)]
    if not judgements and (labels_expected or reading.label_names):
        warnings += _warnings(staging, reading, shards)
    manifest = Manifest(
        name=config.name,
        config=config,
        splits=splits,
        dropped=dict(sorted(dropped.items())),
        remarks=reading.remarks,
        label_names=reading.label_names,
        label_parents=source.label_parents(),
        multi_label=any(part.labels_per_document > 1 for shard in shards for part in shard.values()),
        vocabulary_hash=vocabulary.hash,
        source_checksum=reading.checksum,
        pairs=_pairs(shards) if reading.pairs else {},
        judged=_judged(judgements) if judgements else {},
        attributes=reading.attributes,
        source_files=files,
        warnings=warnings,
    )
    write_text(staging.output / VOCABULARY, vocabulary.to_json())
    if judgements:
        write_judgements(staging.output / JUDGED, judgements)
    write_text(staging.output / MANIFEST, manifest.to_json())
    publish_directory(staging.output, target, MANIFEST)
    remove_directory(staging.root)
    for warning in warnings:
        warn(warning)
    kept = ", ".join(f"{split} {count:,}" for split, count in manifest.documents.items())
    left = "".join(f"; left out {count:,} ({reason})" for reason, count in manifest.dropped.items())
    log_line(f"prepared {config.name}/{config.edition.name}: {kept}; {len(vocabulary):,} words{left}")
    return target


def _warnings(staging: Staging, reading: Reading, shards: list[dict[str, ShardSizes]]) -> list[str]:
    names = reading.label_names
    if reading.pairs:  # relevance is given by the answers to a question, not by labels
        return []
    if not names:
        return [
            "no document has a label, in a column labels or label or as the sub-folder of a text: relevance by labels "
            "cannot be measured."
        ]
    if len(names) == 1:
        return [f"all labels are {names[0]!r}: every document is relevant to every other."]
    trained = np.sum([shard["train"].label_documents for shard in shards], axis=0) > 0
    held = np.sum([part.label_documents for shard in shards for part in shard.values()], axis=0) > 0
    if not len(untrained := np.flatnonzero(held & ~trained)):
        return []
    documents = sum(_with_labels(staging, untrained, split) for split in SPLITS)
    first = ", ".join(names[label] for label in untrained[:_NAMED]) + ", ..." * (len(untrained) > _NAMED)
    return [
        f"{len(untrained)} of {len(names)} labels are on no training document, only on {documents} others: {first}."
    ]


def _pairs(shards: list[dict[str, ShardSizes]]) -> dict[str, PairCounts]:
    """Sum the counts of a pair corpus over shards, by split."""
    found = {}
    for split in SPLITS:
        parts = [shard[split].pairs or PairCounts(0, 0, 0, 0) for shard in shards]
        found[split] = PairCounts(*(sum(values) for values in zip(*map(astuple, parts), strict=True)))
    return found


def _judged(judgements: Judgements) -> dict[str, int]:
    """Return the number of queries with a relevant document, by split."""
    return {
        split: sum(any(grade > 0 for grade in own.values()) for own in qrels.values())
        for split, qrels in judgements.qrels.items()
    }


def _with_labels(staging: Staging, labels: np.ndarray, split: str) -> int:
    """Count the documents of a split that have any of the labels."""
    found = 0
    for number in range(staging.config.shards):
        for rows in read_parquet(staging.shard(split, number), ["label_ids"]):
            indptr, ids = from_arrow(rows["label_ids"])
            found += int((np.diff(indptr_of(np.isin(ids, labels))[indptr]) > 0).sum())
    return found


def _reusable(target: Path, config: CorpusConfig) -> Manifest:
    manifest = Manifest.read(target)
    if manifest.config_hash == config_hash(config):
        return manifest
    then, now = (dict(_flat(c.model_dump(mode="json"))) for c in (manifest.config, config))
    differences = [f"{key}={then.get(key)!r} then, {now.get(key)!r} now" for key in now if then.get(key) != now[key]]
    differences = [text for text in differences if not text.startswith("data_dir=")]
    if now["path"] is not None and then["path"] != now["path"]:
        raise CorpusError(
            f"{target} was prepared from {then['path'] or 'official files'}, not from {now['path']}.",
            f"give this corpus a name of its own (corpus.name=...), or delete {target}.",
        )
    raise CorpusError(
        f"{target} was prepared with other settings: {'; '.join(differences)}.",
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
        known = as_user_error(error)
        if isinstance(known, StorageUnavailableError):
            raise StorageUnavailableError(f"preparing {target} failed: {known.problem}", known.remedy) from error
        raise CorpusError(
            f"preparing {target} failed: {error}",
            "make room or give access, then start again: what is finished is kept.",
        ) from error
