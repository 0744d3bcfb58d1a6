"""The index that answers few queries without kernels: as the kernels do, also once it is laid out for them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming import kernels, plain_scan
from texthash.hamming.codes import to_words
from texthash.index.memory.deferred import DeferredIndex
from texthash.index.memory.hits import Hits
from texthash.index.memory.multi_index import MultiIndex


def random_codes(seed: int, rows: int, width: int, tied: bool) -> np.ndarray:
    """Codes; with ``tied`` of few different values, so that most distances are equal."""
    found = np.random.default_rng(seed).integers(0, 256, (rows, width), np.uint8)
    return found & np.uint8(3) if tied else found


def assert_same(found: Hits, expected: Hits) -> None:
    assert found.plans == expected.plans
    assert found.candidates.tolist() == expected.candidates.tolist()
    for mine, theirs in zip(found.distances + found.numbers, expected.distances + expected.numbers, strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.tolist() == theirs.tolist()


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(0, 300),
    width=st.sampled_from([1, 2, 3, 4, 5, 6, 8, 12, 13, 16, 32, 128]),
    k=st.integers(1, 400),
    radius=st.none() | st.integers(0, 1100),
    tied=st.booleans(),
)
def test_the_plain_scan_finds_what_the_kernels_find(seed, rows, width, k, radius, tied) -> None:
    codes, query = random_codes(seed, rows, width, tied), random_codes(seed + 1, 1, width, tied)
    near, places, sizes = kernels.nearest(to_words(codes), to_words(query), k, radius)
    distances, found = plain_scan.nearest(codes, query[0], k, radius)
    assert (distances.dtype, found.dtype) == (near.dtype, places.dtype)
    assert distances.tolist() == near[0, : sizes[0]].tolist()
    assert found.tolist() == places[0, : sizes[0]].tolist()


def test_the_plain_scan_of_more_rows_than_a_block() -> None:
    codes, query = random_codes(0, 200_000, 8, True), random_codes(1, 1, 8, True)
    near, places, _ = kernels.nearest(to_words(codes), to_words(query), 1000)
    distances, found = plain_scan.nearest(codes, query[0], 1000)
    assert distances.tolist() == near[0].tolist()
    assert found.tolist() == places[0].tolist()


@pytest.mark.parametrize("plan", ["auto", "flat", "mih"])
@pytest.mark.parametrize(("limit", "offset", "radius"), [(10, 0, None), (3, 5, 12), (10_000, 0, None), (5, 9_000, 3)])
def test_it_answers_as_the_index_that_it_becomes(plan, limit, offset, radius) -> None:
    rng = np.random.default_rng(3)
    codes, queries = random_codes(4, 6_000, 6, True), random_codes(5, 40, 6, True)
    numbers = rng.permutation(20_000)[:6_000].astype(np.int64)
    deferred, made = DeferredIndex(codes, numbers), MultiIndex(codes, numbers)
    assert len(deferred) == len(made)
    assert deferred.numbers.tolist() == made.numbers.tolist()
    some = rng.permutation(made.numbers)[:50]
    for first, last in ((0, 1), (1, 4), (4, 5), (5, 40), (0, 1)):  # the fourth of them is more than it scans by itself
        assert deferred.codes(some).tolist() == made.codes(some).tolist()
        values, own = rng.standard_normal((3, 48)), rng.integers(0, 3, len(some))
        assert deferred.scores(values, own, some).tolist() == made.scores(values, own, some).tolist()
        found = deferred.search(queries[first:last], limit, offset, radius=radius, plan=plan)
        assert_same(found, made.search(queries[first:last], limit, offset, radius=radius, plan=plan))
    assert deferred.size_bytes == made.size_bytes


def test_what_it_does_not_scan_itself_is_answered_too() -> None:
    codes, numbers = random_codes(6, 500, 8, False), np.arange(500)
    queries, allow = codes[:3], np.arange(500) % 2 == 0
    made = MultiIndex(codes, numbers)
    assert_same(DeferredIndex(codes, numbers).search(queries, 5, allow=allow), made.search(queries, 5, allow=allow))
    within = DeferredIndex(codes, numbers).total_within_radius(queries, 25)
    assert within.tolist() == made.total_within_radius(queries, 25).tolist()
    fewer = DeferredIndex(codes, numbers).without(numbers[:10]).added(codes[:2], np.array([900, 901]))
    assert fewer.search(queries, 1).numbers[0].tolist() == [900]


def test_wrong_arguments_are_the_same_errors() -> None:
    index = DeferredIndex(np.zeros((5, 8), np.uint8), np.arange(5))
    with pytest.raises(ModelMismatchError, match="64 are expected"):
        index.search(np.zeros((1, 4), np.uint8), 1)
    with pytest.raises(TexthashError, match="the radius is -1"):
        index.search(np.zeros((1, 8), np.uint8), 1, radius=-1)
    with pytest.raises(TexthashError, match="limit is 0"):
        index.search(np.zeros((1, 8), np.uint8), 0)
    with pytest.raises(TexthashError, match="there is no plan"):
        index.search(np.zeros((1, 8), np.uint8), 1, plan="fast")  # type: ignore[arg-type]
    with pytest.raises(TexthashError, match="more than once"):
        DeferredIndex(np.zeros((2, 8), np.uint8), np.array([7, 7]))


def test_a_lone_search_does_not_load_the_compiler() -> None:
    program = (
        "import sys, numpy as np; from texthash.index import shard, rescoring\n"
        "from texthash.index.memory.deferred import DeferredIndex\n"
        "DeferredIndex(np.zeros((9, 8), np.uint8), np.arange(9)).search(np.zeros((1, 8), np.uint8), 3)\n"
        "sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
