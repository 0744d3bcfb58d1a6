"""Rescoring: scores as their equation says, order as the contract says, the same however the index is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.index.test_shard import rows, write
from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming.asymmetric import asymmetric
from texthash.index.filters.language import Labels
from texthash.index.rescoring import search_rescored


def brute_force(codes, query, values, window, allowed) -> list[tuple[float, int, int]]:
    """(score, distance, number) of the allowed documents, the nearest ``window`` of them by score, the others by
    distance; values are small integers, of which every sum is exact."""
    distances = np.bitwise_count(codes ^ query).sum(axis=1)
    signs = 2.0 * np.unpackbits(codes, axis=1) - 1.0
    scores = (signs * values).sum(axis=1)
    near = [(float(scores[n]), d, n) for d, n in sorted((int(distances[n]), n) for n in np.flatnonzero(allowed))]
    return [*sorted(near[:window], key=lambda hit: (-hit[0], hit[1], hit[2])), *near[window:]]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_answer_is_that_of_brute_force_in_any_number_of_shards(data: st.DataObject, tmp_path_factory) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    count, width = data.draw(st.integers(1, 50)), data.draw(st.sampled_from([1, 2, 8, 9]))
    # Few different codes and values, so that scores and distances tie.
    codes = rng.integers(0, 4, (count, width), np.uint8)
    queries = rng.integers(0, 4, (3, width), np.uint8)
    values = rng.integers(-2, 3, (3, 8 * width)).astype(np.float32)
    labels = [[str(name)] for name in rng.integers(0, 2, count)]
    limit, offset, oversample = (data.draw(st.integers(*span)) for span in ((1, 8), (0, 6), (1, 4)))
    label = data.draw(st.sampled_from([None, "0"]))
    allowed = [label is None or label in own for own in labels]
    for shards in (1, 2, 5):
        opened = write(tmp_path_factory.mktemp("index"), rows(codes, labels), shards)
        wanted = {"limit": limit, "offset": offset, "oversample": oversample, "where": label and Labels((label,))}
        found = search_rescored(opened, queries, values, **wanted)
        for query in range(3):
            expected = brute_force(codes, queries[query], values[query], oversample * limit, allowed)
            got = zip(found.scores[query], found.hits.distances[query], found.hits.numbers[query], strict=True)
            assert [(float(s), int(d), int(n)) for s, d, n in got] == expected[offset : offset + limit]
            for number, shard in zip(found.hits.numbers[query], found.shards[query], strict=True):
                assert number in opened[shard].numbers


def test_one_query_and_a_batch_and_any_cut_give_the_same_bits_of_a_score(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    codes, queries = rng.integers(0, 256, (300, 16), np.uint8), rng.integers(0, 256, (5, 16), np.uint8)
    values = rng.standard_normal((5, 128)).astype(np.float32)
    table = rows(codes, [[] for _ in codes])
    one, three = write(tmp_path / "one", table, 1), write(tmp_path / "three", table, 3)
    batch = search_rescored(one, queries, values, 20)
    cut = search_rescored(three, queries, values, 20, plan="mih")
    for query in range(5):
        some = slice(query, query + 1)
        alone = search_rescored(three, queries[some], values[some], 20)
        for other, place in ((cut, query), (alone, 0)):
            assert np.array_equal(batch.scores[query], other.scores[place])
            assert np.array_equal(batch.hits.numbers[query], other.hits.numbers[place])
        assert np.all(np.diff(batch.scores[query]) <= 0)


def test_signs_as_activations_give_the_distance() -> None:
    rng = np.random.default_rng(1)
    codes, query = rng.integers(0, 256, (40, 4), np.uint8), rng.integers(0, 256, 4, np.uint8)
    scores = asymmetric(2.0 * np.unpackbits(query) - 1.0, codes)
    assert np.array_equal(scores, 32 - 2 * np.bitwise_count(codes ^ query).sum(axis=1, dtype=np.int64))


@pytest.mark.parametrize("bits", [8, 64, 256])
def test_a_score_does_not_depend_on_the_number_of_codes(bits: int) -> None:
    rng = np.random.default_rng(bits)
    codes, activations = rng.integers(0, 256, (700, bits // 8), np.uint8), rng.standard_normal(bits)
    scores = asymmetric(activations, codes)
    assert np.allclose(scores, (2.0 * np.unpackbits(codes, axis=1) - 1.0) @ activations)
    for size in (1, 10):
        parts = np.split(codes, len(codes) // size)
        assert np.array_equal(scores, np.concatenate([asymmetric(activations, part) for part in parts]))


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    codes = np.zeros((3, 1), np.uint8)
    opened = write(tmp_path, rows(codes, [[]] * 3), 2)
    values = np.ones((1, 8), np.float32)
    for oversample in (0, 101):
        with pytest.raises(TexthashError, match=f"oversample={oversample}"):
            search_rescored(opened, codes[:1], values, 1, oversample=oversample)
    with pytest.raises(ModelMismatchError, match="shape"):
        search_rescored(opened, codes[:1], values[:, :7], 1)
    with pytest.raises(ModelMismatchError, match="8 bits"):
        asymmetric(np.ones(16), codes)
    with pytest.raises(TexthashError, match="not finite"):
        asymmetric(np.full(8, np.nan), codes)
