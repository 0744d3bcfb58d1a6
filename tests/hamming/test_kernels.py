"""The kernels against brute force, under what must not change a result, and against faiss."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming import _threads, kernels
from texthash.hamming.codes import pack, to_words, unpack

WIDTHS = [8, 16, 40, 64, 72, 128, 192, 256, 320, 1024]


class Case(NamedTuple):
    codes: np.ndarray
    queries: np.ndarray
    bits: int
    seed: int

    @property
    def words(self):
        return to_words(self.codes), to_words(self.queries)

    @property
    def distances(self):
        return brute_distances(self.queries, self.codes)


@st.composite
def cases(draw):
    """Codes near the sizes where the kernels change their ways, with few or many equal distances."""
    bits = draw(st.sampled_from(WIDTHS))
    size = draw(st.sampled_from([0, 1, 31, 32, 33, 64, 257, 1024, 1055, 2500]) | st.integers(0, 300))
    kind = draw(st.sampled_from(["random", "few", "equal", "near"]))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    pool = random.integers(0, 256, (max(size, 1), bits // 8), dtype=np.uint8)
    codes = pool[:size]
    if kind == "few":
        codes = pool[random.integers(0, min(3, len(pool)), size)]
    elif kind == "equal":
        codes = np.repeat(pool[:1], size, axis=0)
    elif kind == "near":
        codes = pack((unpack(pool[:1]) ^ (random.random((max(size, 1), bits)) < 0.05)).astype(np.bool_))[:size]
    queries = random.integers(0, 256, (draw(st.integers(1, 4)), bits // 8), dtype=np.uint8)
    if size:
        queries[0] = codes[-1]
    return Case(codes, queries, bits, seed)


def brute_distances(queries, codes):
    return np.bitwise_count(queries[:, None] ^ codes[None]).sum(axis=2, dtype=np.int64)


def brute_nearest(distances, k=None, allow=None, radius=None):
    order = np.lexsort((np.arange(len(distances)), distances))
    if allow is not None:
        order = order[allow[order]]
    if radius is not None:
        order = order[distances[order] <= radius]
    return order[:k]


@settings(deadline=None)  # the first call compiles
@given(cases())
def test_distances_of_all_pairs(case):
    found = kernels.distances(case.queries, case.codes)
    assert found.dtype == np.uint16
    assert np.array_equal(found, case.distances)


@settings(deadline=None, max_examples=200)
@given(cases(), st.integers(1, 60) | st.sampled_from([1, 3000]), st.sampled_from([None, 0.0, 0.01, 0.05, 0.5, 1.0]))
def test_top_k_is_brute_force(case, k, share):
    allow = None if share is None else np.random.default_rng(case.seed).random(len(case.codes)) < share
    distances, rows = kernels.top_k(*case.words, k, allow)
    expected = min(k, len(case.codes) if allow is None else int(allow.sum()))
    assert distances.shape == rows.shape == (len(case.queries), expected)
    for query, true in enumerate(case.distances):
        best = brute_nearest(true, k, allow)
        assert np.array_equal(rows[query], best)
        assert np.array_equal(distances[query], true[best])


@settings(deadline=None)  # the first call compiles
@given(cases(), st.floats(0, 1), st.sampled_from([None, 0.0, 0.05, 0.5]))
def test_radius_is_brute_force(case, share_of_bits, share):
    radius = round(share_of_bits * case.bits)
    allow = None if share is None else np.random.default_rng(case.seed).random(len(case.codes)) < share
    found = kernels.within_radius(*case.words, radius, allow)
    counts = kernels.count_within(*case.words, radius, allow)
    for query, (true, (distances, rows)) in enumerate(zip(case.distances, found, strict=True)):
        best = brute_nearest(true, allow=allow, radius=radius)
        assert np.array_equal(rows, best)
        assert np.array_equal(distances, true[best])
        assert counts[query] == len(best)


@settings(deadline=None)  # the first call compiles
@given(cases(), st.integers(1, 40), st.floats(0, 1))
def test_nearest_within_a_radius_fills_up_with_nothing(case, k, share_of_bits):
    radius = round(share_of_bits * case.bits)
    distances, rows, sizes = kernels.nearest(*case.words, k, radius)
    for query, true in enumerate(case.distances):
        best = brute_nearest(true, k, radius=radius)
        assert sizes[query] == len(best)
        assert np.array_equal(rows[query, : len(best)], best)
        assert (rows[query, len(best) :] == -1).all()
        assert (distances[query, len(best) :] == 65535).all()


@settings(deadline=None)  # the first call compiles
@given(cases(), st.integers(1, 60), st.integers(2, 5), st.sampled_from([1, 2, 32]))
def test_threads_and_query_blocks_change_nothing(case, k, threads, queries_of_a_thread):
    expected = kernels.top_k(*case.words, k)
    counts = kernels.count_within(*case.words, case.bits // 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_threads, "_WORK_PER_THREAD", 1)
        patch.setattr(kernels, "_QUERIES_AT_ONCE", 2)
        patch.setattr(kernels, "_QUERIES_OF_A_THREAD", queries_of_a_thread)
        assert np.array_equal(kernels.top_k(*case.words, k, threads=threads), expected)
        assert np.array_equal(kernels.count_within(*case.words, case.bits // 3, threads=threads), counts)


@settings(deadline=None)  # the first call compiles
@given(cases(), st.integers(1, 60))
def test_flipping_and_permuting_bits_changes_nothing(case, k):
    random = np.random.default_rng(case.seed)
    expected = kernels.top_k(*case.words, k)
    mask = random.integers(0, 256, case.codes.shape[1], dtype=np.uint8)
    assert np.array_equal(kernels.top_k(to_words(case.codes ^ mask), to_words(case.queries ^ mask), k), expected)
    order = random.permutation(case.bits)
    codes, queries = (pack(unpack(codes)[:, order]) for codes in (case.codes, case.queries))
    assert np.array_equal(kernels.top_k(to_words(codes), to_words(queries), k), expected)


@settings(deadline=None)  # the first call compiles
@given(cases(), st.integers(1, 60), st.floats(0, 1))
def test_shards_merge_to_the_whole(case, k, share):
    cut = round(share * len(case.codes))
    query_words = case.words[1]
    parts = [kernels.top_k(to_words(codes), query_words, k) for codes in (case.codes[:cut], case.codes[cut:])]
    distances = np.concatenate([parts[0][0], parts[1][0]], axis=1)
    rows = np.concatenate([parts[0][1], parts[1][1] + cut], axis=1)
    order = np.lexsort((rows, distances))[:, :k]
    expected = kernels.top_k(*case.words, k)
    assert np.array_equal(np.take_along_axis(distances, order, axis=1), expected[0])
    assert np.array_equal(np.take_along_axis(rows, order, axis=1), expected[1])


def test_the_worst_order_of_rows_fills_the_candidates_again_and_again():
    nearer = np.sort(np.random.default_rng(0).integers(0, 257, 20_000))[::-1]
    codes = pack(np.arange(256) < nearer[:, None])
    query = np.zeros((1, 32), np.uint8)
    for k in (1, 10, 5000):
        distances, rows = kernels.top_k(to_words(codes), to_words(query), k)
        assert np.array_equal(rows[0], brute_nearest(nearer, k))
        assert np.array_equal(distances[0], nearer[rows[0]])


def test_packed_and_read_only_masks_and_words():
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (1500, 8), dtype=np.uint8)
    words = to_words(codes)
    words.flags.writeable = False
    allow = random.random(1500) < 0.3
    plain = kernels.top_k(words, words[:, :3], 20, allow)
    assert np.array_equal(kernels.top_k(words, words[:, :3], 20, kernels.pack_allow(allow)), plain)


def label_sets(random, size, labels, most):
    sets = [random.choice(labels, random.integers(0, most + 1), replace=False) for _ in range(size)]
    indptr = np.concatenate([[0], np.cumsum([len(s) for s in sets])]).astype(np.int64)
    return sets, (indptr, np.concatenate([*sets, np.empty(0, np.int32)]).astype(np.int32))


@settings(deadline=None)  # the first call compiles
@given(cases(), st.sampled_from([(1, 1), (5, 1), (8, 4), (100, 9)]), st.sampled_from([1, 3]))
def test_histograms_are_brute_force(case, kind, threads):
    labels, most = kind
    random = np.random.default_rng(case.seed)
    row_sets, row_csr = label_sets(random, len(case.codes), labels, most)
    query_sets, query_csr = label_sets(random, len(case.queries), labels, most)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_threads, "_WORK_PER_THREAD", 1)
        n = kernels.histogram(*case.words, case.bits, threads)
        counts = kernels.label_histogram(*case.words, row_csr, query_csr, case.bits, threads)
        graded = kernels.graded_histogram(*case.words, row_csr, query_csr, case.bits, threads)
    assert np.array_equal(counts[0], n)
    assert np.array_equal(graded.sum(axis=2), n)
    assert np.array_equal(graded[:, :, 1:].sum(axis=2), counts[1])
    assert graded.shape == (len(case.queries), case.bits + 1, 1 + max(len(s) for s in query_sets))
    for query, true in enumerate(case.distances):
        shared = np.array([len(set(query_sets[query]) & set(s)) for s in row_sets], int)
        expected = np.zeros(graded.shape[1:], np.int64)
        np.add.at(expected, (true, shared), 1)
        assert np.array_equal(graded[query], expected)


@pytest.mark.parametrize("bits", [64, 256])
def test_faiss_finds_the_same_distances(bits):
    faiss = pytest.importorskip("faiss")
    random = np.random.default_rng(bits)
    codes = random.integers(0, 256, (5000, bits // 8), dtype=np.uint8)
    queries = random.integers(0, 256, (20, bits // 8), dtype=np.uint8)
    index = faiss.IndexBinaryFlat(bits)
    index.add(codes)
    expected, _ = index.search(queries, 50)
    distances, _ = kernels.top_k(to_words(codes), to_words(queries), 50)
    assert np.array_equal(distances, expected)


def test_the_gil_is_free_during_a_search():
    """Another thread gets on while one long call runs."""
    words = to_words(np.zeros((200_000, 8), np.uint8))
    kernels.top_k(words[:, :64], words[:, :1], 1)
    done = threading.Event()

    def search():
        kernels.histogram(words, words[:, :500])
        done.set()

    thread = threading.Thread(target=search)
    thread.start()
    steps = 0
    while not done.is_set():
        steps += 1
    thread.join()
    assert steps > 1000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w, q: kernels.top_k(w, q, 0), "k is 0"),
        (lambda w, q: kernels.top_k(w.view(np.int64), q, 1), "int64"),
        (lambda w, q: kernels.top_k(w[0], q, 1), "not uint64"),
        (lambda w, q: kernels.count_within(w, q, -1), "radius is -1"),
        (lambda w, q: kernels.top_k(w, q, 1, np.ones(4, np.bool_)), r"bool \[5\]"),
        (lambda w, q: kernels.top_k(w, q, 1, np.ones(5, np.int64)), "int64"),
        (lambda w, q: kernels.label_histogram(w, q, ([0], []), ([0, 0], [])), "came with 5 codes"),
        (
            lambda w, q: kernels.label_histogram(w, q, (np.zeros(6, int), np.empty(0, int)), ([0], [])),
            "came with 1 quer",
        ),
    ],
)
def test_arguments_that_cannot_be(call, message):
    words = to_words(np.zeros((5, 8), np.uint8))
    with pytest.raises(TexthashError, match=message):
        call(words, words[:, :1])


def test_codes_of_different_widths():
    narrow, wide = np.zeros((2, 8), np.uint8), np.zeros((2, 16), np.uint8)
    with pytest.raises(ModelMismatchError, match="2 words"):
        kernels.top_k(to_words(narrow), to_words(wide), 1)
    with pytest.raises(ModelMismatchError, match="query codes have 128 bits where 64"):
        kernels.distances(wide, narrow)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 64, 1024])
def test_after_warming_no_search_compiles(bits, tmp_path):
    program = f"""
import numpy as np
from numba.core import event
from texthash.hamming import kernels
from texthash.hamming.codes import to_words
from texthash.hamming.multi_index import BitOrder, Tables

codes = np.random.default_rng(0).integers(0, 256, (5000, {bits} // 8), np.uint8)
with event.install_recorder("numba:compile") as compiled:
    kernels.warmup({bits})
    before = len(compiled.buffer)
    words = to_words(codes)
    for queries in (words[:, :1], words[:, :40]):
        kernels.top_k(words, queries, 10)
        kernels.top_k(words, queries, 10, allow=np.arange(5000) % 2 == 0)
        kernels.within_radius(words, queries, 2)
    Tables.build(BitOrder(np.arange({bits})).words(codes), {bits}).nearest(words[:, :1], 10)
print(before, len(compiled.buffer) - before)
"""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    warming, searching = map(int, done.stdout.split())
    assert warming > 0
    assert searching == 0
