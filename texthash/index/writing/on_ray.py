"""Construction of an index on Ray: one task per split to encode it, then one per shard to write it."""

from __future__ import annotations

from pathlib import Path

import ray

from texthash.config import VectorKind
from texthash.index.writing.build import SPLITS, build_shard, encode_codes, finish, index_path, is_built
from texthash.paths import StateDir
from texthash.progress import track


def build_index(
    hasher_dir: Path,
    corpus_path: Path,
    home: StateDir,
    shards: int = 1,
    vectors: VectorKind | None = None,
    cpus_per_task: float = 0.9,
    retries: int = 2,
) -> Path:
    """Build an index with Ray, which the caller has initialised. Every path must be visible from all nodes.

    An interrupted build resumes: encoded splits and written shards are reused. A task whose worker dies is restarted.

    Args:
        hasher_dir: Directory of a model written by ``Hasher.save``.
        corpus_path: Directory of a prepared corpus with the vocabulary of the model.
        home: State directory; the index is created under ``index/``.
        shards: Number of shards.
        vectors: Kind of vectors to store beside the codes; None stores none.
        cpus_per_task: Number of CPUs that each task reserves.
        retries: Number of restarts of one task.

    Returns:
        Directory of the index.

    Raises:
        ModelMismatchError: Model and corpus do not belong together, or the model has no such vectors.
    """
    index = index_path(hasher_dir, corpus_path, home, shards, vectors)
    if not is_built(index, shards):
        encode = ray.remote(num_cpus=cpus_per_task, max_retries=retries)(encode_codes)
        write = ray.remote(num_cpus=cpus_per_task, max_retries=retries)(build_shard)
        _wait([encode.remote(hasher_dir, corpus_path, index, split, vectors) for split in SPLITS], "encoding splits")
        _wait(
            [write.remote(hasher_dir, corpus_path, index, n, shards, vectors) for n in range(shards)], "writing shards"
        )
    return finish(index)


def _wait(pending: list[ray.ObjectRef], label: str) -> None:
    remaining = list(pending)
    for _ in track(range(len(pending)), label):
        finished, remaining = ray.wait(remaining, num_returns=1)
        ray.get(finished[0])
