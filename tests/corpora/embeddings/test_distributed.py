"""Encoding on actors gives what one process gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.embeddings import cache
from texthash.corpora.prepared.embeddings.cache import encode_blocks, ensure_features
from texthash.errors import ModelMismatchError
from texthash.executor import RayExecutor

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("actors", [1, 2])
def test_vectors_are_those_of_one_process(
    ray_cluster: Any,
    corpus_of: Callable[[int], PreparedCorpus],
    tiny_encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    actors: int,
) -> None:
    monkeypatch.setattr(cache, "BLOCK_ROWS", 8)
    alone, spread = corpus_of(60), corpus_of(60)
    name = ensure_features(alone, str(tiny_encoder))
    assert ensure_features(spread, str(tiny_encoder), RayExecutor(actors)) == name
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(spread.split(split).dense(name), alone.split(split).dense(name))


def test_an_actor_that_is_killed_is_started_again(ray_cluster: Any, tiny_encoder: Path) -> None:
    blocks = [(("train", number), [f"the data of frame {number}", "an array"]) for number in range(12)]

    def killing() -> Iterator[tuple[tuple[str, int], list[str]]]:
        yield from blocks[:6]
        [encoder] = [p for p in psutil.Process().children(recursive=True) if "_Worker" in p.name()]
        encoder.kill()  # while it has blocks to encode
        yield from blocks[6:]

    found = dict(encode_blocks(str(tiny_encoder), killing(), RayExecutor(1)))
    expected = dict(encode_blocks(str(tiny_encoder), blocks))
    assert sorted(found) == sorted(expected)
    for place, vectors in expected.items():
        np.testing.assert_array_equal(found[place], vectors)


def test_an_error_of_an_actor_arrives_as_itself(ray_cluster: Any, tiny_encoder: Path) -> None:
    with pytest.raises(ModelMismatchError, match="was learned from"):
        list(encode_blocks(f"{tiny_encoder}@0123456789ab", [(("train", 0), ["text"])], RayExecutor(1)))
