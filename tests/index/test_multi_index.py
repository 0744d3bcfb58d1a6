"""Every plan gives the answer of brute force, whatever is done to the index; what the plans say of themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming.asymmetric import asymmetric
from texthash.hamming.codes import pack, unpack
from texthash.hamming.kernels import pack_allow
from texthash.hamming.multi_index import Costs
from texthash.hamming.plain_scan import distances_where
from texthash.index.memory import multi_index
from texthash.index.memory.cost_model import Call, CostModel
from texthash.index.memory.hits import Hits, merge
from texthash.index.memory.multi_index import MultiIndex

PLANS = ("flat", "mih", "auto")


def make_codes(random, size, width, kind):
    pool = random.integers(0, 256, (max(size, 1), width), dtype=np.uint8)
    if kind == "few":
        return pool[random.integers(0, min(3, len(pool)), size)]
    if kind == "equal":
        return np.repeat(pool[:1], size, axis=0)
    if kind == "near":
        return pack((unpack(pool[:1]) ^ (random.random((max(size, 1), 8 * width)) < 0.05)).astype(np.bool_))[:size]
    return pool[:size]


def brute(codes, numbers, query, allowed, radius=None):
    distances = np.bitwise_count(codes ^ query).sum(axis=1, dtype=np.int64)
    kept = allowed if radius is None else allowed & (distances <= radius)
    order = np.lexsort((numbers, distances))
    order = order[kept[order]]
    return distances[order], numbers[order]


def scanned(codes, numbers, queries, k):
    return MultiIndex(codes, numbers).search(queries, k, plan="flat")


def same(hits: Hits, expected: Hits):
    return all(
        np.array_equal(a, b)
        for one, two in ((hits.distances, expected.distances), (hits.numbers, expected.numbers))
        for a, b in zip(one, two, strict=True)
    )


cases = {
    "seed": st.integers(0, 2**32 - 1),
    "width": st.sampled_from([1, 2, 3, 5, 8, 9, 16, 24, 32]),
    "size": st.integers(0, 80) | st.sampled_from([257, 1500]),
    "kind": st.sampled_from(["random", "few", "equal", "near"]),
}


@settings(deadline=None, max_examples=150)
@given(
    **cases,
    limit=st.integers(1, 30) | st.just(2000),
    offset=st.integers(0, 5),
    share=st.sampled_from([None, 0.0, 0.05, 0.5]),
    radius=st.none() | st.sampled_from([0.0, 1.0]) | st.floats(0, 0.5),
    threads=st.sampled_from([1, 3]),
    packed=st.booleans(),
    changed=st.booleans(),
)
def test_every_plan_is_brute_force(seed, width, size, kind, limit, offset, share, radius, threads, packed, changed):
    """With and without documents that were added, replaced and deleted."""
    random = np.random.default_rng(seed)
    codes = make_codes(random, size, width, kind)
    numbers = random.permutation(3 * size)[:size].astype(np.int64)
    queries = random.integers(0, 256, (3, width), dtype=np.uint8)
    if size:
        queries[0] = codes[0]
    index = MultiIndex(codes, numbers)
    if changed and size:
        replaced = numbers[: size // 4]
        gone = numbers[-(size // 5 + 1) :]
        more = np.concatenate([replaced, np.arange(3 * size, 3 * size + 7)])
        new = make_codes(random, len(more), width, kind)
        index = index.added(new, more).without(np.append(gone, 10**9))
        kept = ~np.isin(numbers, more) & ~np.isin(numbers, gone)
        still = ~np.isin(more, gone)
        codes, numbers = np.concatenate([codes[kept], new[still]]), np.concatenate([numbers[kept], more[still]])
    assert len(index) == len(codes)
    assert set(numbers.tolist()) <= set(index.numbers.tolist())
    assert np.array_equal(index.codes(numbers), codes)
    asked = np.append(numbers, 10**9)
    assert np.array_equal(index.holds(asked), asked < 10**9)
    near = distances_where(index.holds(asked), index.codes(numbers), queries[1])
    assert near.tolist() == [*np.bitwise_count(codes ^ queries[1]).sum(axis=1), -1]
    values, own = random.standard_normal((2, 8 * width)), random.integers(0, 2, len(asked))
    expected = np.full(len(asked), np.nan)
    for query in (0, 1):
        expected[:-1][own[:-1] == query] = asymmetric(values[query], codes[own[:-1] == query])
    assert np.array_equal(index.scores(values, own, asked), expected, equal_nan=True)  # to the last bit
    allow = None if share is None else random.random(len(index.numbers)) < share
    allowed = np.ones(len(numbers), np.bool_) if allow is None else np.isin(numbers, index.numbers[allow])
    mask = pack_allow(allow) if packed and allow is not None else allow
    bits = None if radius is None else round(radius * 8 * width)
    for plan in PLANS:
        hits = index.search(queries, limit, offset, radius=bits, allow=mask, threads=threads, plan=plan)
        for row, query in enumerate(queries):
            distances, found = brute(codes, numbers, query, allowed, bits)
            assert np.array_equal(hits.distances[row], distances[offset : offset + limit])
            assert np.array_equal(hits.numbers[row], found[offset : offset + limit])
        if bits is not None:
            totals = [len(brute(codes, numbers, query, allowed, bits)[0]) for query in queries]
            assert index.total_within_radius(queries, bits, mask, threads, plan).tolist() == totals


@settings(deadline=None)
@given(**cases, k=st.integers(1, 40))
def test_flipping_and_permuting_bits_changes_nothing(seed, width, size, kind, k):
    random = np.random.default_rng(seed)
    codes, queries = make_codes(random, size, width, kind), random.integers(0, 256, (3, width), dtype=np.uint8)
    expected = scanned(codes, np.arange(size), queries, k)
    mask = random.integers(0, 256, width, dtype=np.uint8)
    order = random.permutation(8 * width)
    moved = [pack(unpack(array)[:, order]) for array in (codes, queries)]
    assert same(MultiIndex(codes ^ mask, np.arange(size)).search(queries ^ mask, k, plan="mih"), expected)
    assert same(MultiIndex(moved[0], np.arange(size)).search(moved[1], k, plan="mih"), expected)
    assert same(MultiIndex(codes, np.arange(size), order).search(queries, k, plan="mih"), expected)


@settings(deadline=None)
@given(**cases, k=st.integers(1, 40), parts=st.integers(1, 4))
def test_any_split_gives_the_same_answer(seed, width, size, kind, k, parts):
    random = np.random.default_rng(seed)
    codes, queries = make_codes(random, size, width, kind), random.integers(0, 256, (3, width), dtype=np.uint8)
    owner = random.integers(0, parts, size)
    found = [
        MultiIndex(codes[owner == part], np.flatnonzero(owner == part)).search(queries, k, plan=PLANS[part % 2])
        for part in range(parts)
    ]
    hits, _ = merge(found, k)
    assert same(hits, scanned(codes, np.arange(size), queries, k))
    assert set(hits.plans) <= {"flat", "mih", "flat+mih"}
    assert np.array_equal(hits.candidates, np.sum([part.candidates for part in found], axis=0))


def test_many_changes_go_into_new_tables_and_change_no_answer(monkeypatch):
    monkeypatch.setattr(multi_index, "_TAIL_ROWS", 20)
    random = np.random.default_rng(1)
    codes, queries = random.integers(0, 8, (6000, 4), dtype=np.uint8), random.integers(0, 8, (4, 4), dtype=np.uint8)
    index = MultiIndex(codes[:5000], np.arange(5000)).prepare()
    first = index
    for start in range(5000, 6000, 100):
        index = index.added(codes[start : start + 100], np.arange(start, start + 100))
        index = index.without(np.arange(start - 5000, start - 4950))
        alive = np.setdiff1d(np.arange(start + 100), np.arange(5000)[np.arange(5000) % 100 < 50][: start // 2 - 2450])
        expected = scanned(codes[alive], alive, queries, 30)
        assert all(same(index.search(queries, 30, plan=plan), expected) for plan in PLANS)
    assert same(first.search(queries, 30, plan="mih"), scanned(codes[:5000], np.arange(5000), queries, 30))
    assert index.added(codes[:0], np.arange(0)).search(queries, 3, plan="auto").plans
    assert len(index.without(np.arange(6000))) == 0


def test_plans_say_what_ran_and_what_it_met():
    random = np.random.default_rng(2)
    codes = random.integers(0, 256, (50_000, 8), dtype=np.uint8)
    index = MultiIndex(codes, np.arange(50_000))
    before = index.size_bytes
    assert before == 50_000 * 16
    assert index.search(codes[:2], 1).plans == ["flat", "flat"], "auto scans until there are tables"
    found = index.search(codes[:2], 1, radius=2, plan="mih")
    assert found.plans == ["mih", "mih"]
    assert (found.candidates < 5000).all()
    assert index.size_bytes > before
    flat = index.search(codes[:2], 1, plan="flat")
    assert flat.candidates.tolist() == [50_000, 50_000]
    # Neighbours of random codes beyond the first are half the bits away: no table helps.
    far = index.search(codes[:2], 40_000, plan="mih")
    assert far.plans == ["flat", "flat"]
    assert (far.candidates > 50_000).all()


def model_of(neighbours: list[list[int]], work: list[list[float]]) -> CostModel:
    """Costs of an index of a million codes: a scan of 0.5 ms alone, 0.1 ms a query in a large batch."""
    costs = Costs(probe=10, candidate=2)
    return CostModel(10**6, 1, 4e5, 1e5, 1e4, 1e3, costs, np.array(neighbours, np.uint16), np.array(work))


def test_auto_goes_by_what_the_call_asks_for():
    near = model_of([[1, 2, 3, 4]] * 4, [[1e3, 2e3, 4e3, 6e4, np.inf]] * 4)
    for queries in (1, 64):
        assert near.choose(Call(queries, 1, None, 1.0, 1)) is not None
        assert near.choose(Call(queries, 4, None, 1.0, 1)) is None, "the fourth neighbour costs more than a scan"
        assert near.choose(Call(queries, 4, 2, 1.0, 1)) is not None, "but not when it may only be near"
        assert near.choose(Call(queries, 1, None, 0.25, 1)) is None, "a filter moves the first one away"
        assert near.choose(Call(queries, 5, None, 1.0, 1)) is None, "nothing is known of a fifth"
        assert near.choose(Call(queries, 0, 1, 1.0, 1)) is not None
    assert near.choose(Call(1, 3, None, 1.0, 1)) is not None
    assert near.choose(Call(64, 3, None, 1.0, 1)) is not None


def test_auto_compares_a_batch_with_the_scan_of_a_batch():
    model = model_of([[1]] * 4, [[1e3, 2e5]] * 4)
    assert model.choose(Call(1, 1, None, 1.0, 1)) is not None
    assert model.choose(Call(64, 1, None, 1.0, 1)) is None


def test_auto_gives_up_early_where_queries_are_either_easy_or_hopeless():
    model = model_of([[0]] * 4, [[1e3]] * 3 + [[np.inf]])
    limit = model.choose(Call(1, 1, None, 1.0, 1))
    assert limit is not None
    assert 1e3 <= limit.budget <= 5e5 / 8


def test_auto_does_not_make_most_queries_slower_for_the_sake_of_a_few():
    model = model_of([[0]] * 10, [[1e3]] * 3 + [[np.inf]] * 7)
    limit = model.choose(Call(1, 1, None, 1.0, 1))
    assert limit is not None
    assert limit.budget <= 0.1 * model.flat(Call(1, 1, None, 1.0, 1))
    hopeless = model_of([[0]] * 10, [[np.inf]] * 10)
    assert hopeless.choose(Call(1, 1, None, 1.0, 1)) is None
    assert hopeless.limits(Call(1, 1, None, 1.0, 1)).budget > 0


def test_auto_answers_as_the_scan_once_it_is_prepared():
    random = np.random.default_rng(3)
    codes = np.repeat(random.integers(0, 256, (2000, 8), dtype=np.uint8), 10, axis=0)
    codes ^= np.packbits(random.random((len(codes), 64)) < 0.03, axis=1)
    index = MultiIndex(codes, np.arange(len(codes))).prepare()
    for k, radius, share in ((1, None, 1.0), (10, 3, 0.5), (10, None, 0.01), (5000, None, 1.0)):
        allow = random.random(len(codes)) < share
        expected = index.search(codes[:9], k, radius=radius, allow=allow, plan="flat")
        assert same(index.search(codes[:9], k, radius=radius, allow=allow), expected)
    assert index.search(codes[:9], 10_000).plans == ["flat"] * 9


def test_a_small_index_makes_no_tables():
    index = MultiIndex(np.zeros((10, 8), np.uint8), np.arange(10)).prepare()
    assert index.size_bytes == 160
    assert index.search(np.zeros((1, 8), np.uint8), 3).plans == ["flat"]


def test_searches_that_cannot_be():
    index = MultiIndex(np.zeros((5, 8), np.uint8), np.arange(5))
    query = np.zeros((1, 8), np.uint8)
    for arguments, message in (
        ({"limit": 0}, "limit is 0"),
        ({"limit": 1, "offset": -1}, "offset is -1"),
        ({"limit": 1, "radius": -1}, "radius is -1"),
        ({"limit": 1, "radius": -1, "plan": "mih"}, "radius is -1"),
        ({"limit": 1, "allow": np.ones(3, np.bool_)}, r"bool \[5\]"),
        ({"limit": 1, "plan": "mhi"}, "no plan 'mhi'"),
    ):
        with pytest.raises(TexthashError, match=message):
            index.search(query, **arguments)
    with pytest.raises(ModelMismatchError, match="64"):
        index.search(np.zeros((1, 4), np.uint8), 1)
    with pytest.raises(ModelMismatchError, match="64"):
        index.added(np.zeros((1, 4), np.uint8), np.arange(1))
    with pytest.raises(TexthashError, match="number 7 occurs more than once"):
        MultiIndex(np.zeros((2, 8), np.uint8), np.array([7, 7]))
    with pytest.raises(TexthashError, match="order of 64 bits"):
        MultiIndex(np.zeros((2, 8), np.uint8), np.arange(2), np.zeros(64, np.int64))
