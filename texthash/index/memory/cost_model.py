"""What each way to search an index costs, measured on its own codes, and which is the cheaper one for a call.

A scan costs a fixed part, in which memory is read, and a part for each query. A search by tables costs what its probes
and candidates do, and how many it needs depends on how far a query's k-th neighbour is. Some documents of the index
stand for the queries to come: the distances of their neighbours, and the probes and candidates up to each distance, are
counted once; what a call will cost follows from them for any k, radius and share of allowed documents.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from texthash.hamming import kernels
from texthash.hamming._threads import useful_threads
from texthash.hamming.multi_index import Costs, Tables

Plan = Literal["auto", "flat", "mih"]

_SAMPLE = 32
_NEIGHBOURS = 4096
_BATCH = 64
_ROUNDS = 3
_K_TIMED = (2, 11, 101)
# What a search costs is followed up to so many scans, and to the distance at which half of the sample costs more.
_FURTHEST = 0.6
# A query is given up when it would cost more than such a share of a scan; the one that suits the sample is taken.
_BUDGETS = (0.5, 0.25, 0.12, 0.06)
# A plan other than the scan has to promise at least so much, for a promise is not exact.
_WORTHWHILE = 0.9
# For others to gain, a query may take so many times what a scan does: the one that this share of the sample stays
# below. More than half, for a small sample does not tell exactly where the middle is.
_MIDDLE = 1.1
_MIDDLE_SHARE = 0.7
# No fit makes a step cheaper than this: few probes tell little of what they cost.
_LEAST_PROBE, _LEAST_CANDIDATE = 3.0, 0.5
_CACHED = 4096
# Of allowed rows as few as this share a scan compares no others, which takes about so much of its time.
_SPARSE = 1 / 64
_SPARSE_SCAN = 0.5


@dataclass(frozen=True)
class Call:
    """What a call asks for, as far as its cost depends on it.

    Attributes:
        queries: In the call.
        k: Hits a query, with those left out at the front; 0: only counted.
        radius: None: any distance.
        share: Of the documents that are allowed, to a power of 2.
        threads: Of the call.
    """

    queries: int
    k: int
    radius: int | None
    share: float
    threads: int


@dataclass(frozen=True)
class CostModel:
    """Measured costs of one index, in nanoseconds.

    Attributes:
        rows: Documents in the index.
        words: 64-bit words of a code.
        scan: One scan, whatever the number of queries.
        scan_query: Each query of a scan.
        call: One call of a search by tables.
        query: Each query of it.
        costs: Its probes and candidates.
        neighbours: uint16 [sample, up to 4096], distances of the neighbours of each document of the sample.
        work: float64 [sample, radii], nanoseconds of probes and candidates up to each radius.
    """

    rows: int
    words: int
    scan: float
    scan_query: float
    call: float
    query: float
    costs: Costs
    neighbours: NDArray[np.uint16]
    work: NDArray[np.float64]
    _chosen: dict[Call, tuple[Costs | None, Costs]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def measure(cls, tables: Tables, bits: int) -> CostModel:
        """Measure the costs of an index, in well under a second for 10 million codes."""
        from scipy.optimize import nnls  # a fifth of a second to import, which one search alone does not need

        words = tables.words
        rows = words.shape[1]
        sample = np.linspace(0, rows - 1, min(_SAMPLE, rows)).astype(np.int64)
        queries = np.ascontiguousarray(words[:, sample])
        one = np.ascontiguousarray(queries[:, :1])
        several = np.ascontiguousarray(queries[:, np.arange(_BATCH) % len(sample)])
        alone = _nanoseconds(lambda: kernels.nearest(words, one, _K_TIMED[1]))
        together = _nanoseconds(lambda: kernels.nearest(words, several, _K_TIMED[1]))
        scan_query = min(max(together - alone, 0.0) / (_BATCH - 1), alone)
        # The document itself comes first, or one equal to it does: either way the first is left out.
        neighbours = kernels.nearest(words, queries, _NEIGHBOURS + 1)[0][:, 1:]

        limit = Costs(budget=_FURTHEST * alone)
        singles = [np.ascontiguousarray(queries[:, [place]]) for place in range(len(sample))]
        observed = []
        for k in _K_TIMED:
            for query in singles:
                found = tables.nearest(query, k, costs=limit)
                if found.sizes[0] >= 0:
                    observed.append((_nanoseconds(partial(tables.nearest, query, k, costs=limit)), 1, *found.work[0]))
        measured = (rows, len(words), alone - scan_query, scan_query)
        if not observed:  # each search would cost more than the scan
            return cls(*measured, 0.0, 0.0, Costs.of_scan(words), neighbours, np.empty((len(sample), 0)))
        # Relative errors count: a call of 20 microseconds is to be known as well as one of a millisecond.
        table = np.array(observed, np.float64)
        (call, probe, candidate), _ = nnls(table[:, 1:] / table[:, :1], np.ones(len(table)))
        costs = Costs(
            max(float(probe), _LEAST_PROBE), max(float(candidate), _LEAST_CANDIDATE), budget=_FURTHEST * alone
        )
        spent = _work(tables, queries, bits, costs)
        batch = np.ascontiguousarray(np.repeat(singles[int(np.argmin(spent[:, 0]))], _BATCH, axis=1))
        query = max(0.0, _nanoseconds(partial(tables.nearest, batch, 1, costs=costs)) - call) / _BATCH
        return cls(*measured, float(call), query, costs, neighbours, spent)

    def flat(self, call: Call) -> float:
        """Expected nanoseconds of a call by the scan."""
        threads = useful_threads(call.threads, self.rows * self.words * call.queries)
        # Few allowed rows are looked up one by one, the others are passed over 32 at a time.
        part = 1.0 if call.share > _SPARSE else _SPARSE_SCAN
        return (self.scan + self.scan_query * call.queries) * part / threads

    def choose(self, call: Call) -> Costs | None:
        """Return how to search by the tables, or None where the scan is expected to be faster."""
        return self._choice(call)[0]

    def limits(self, call: Call) -> Costs:
        """Return how to search by the tables, whatever that costs."""
        return self._choice(call)[1]

    def _choice(self, call: Call) -> tuple[Costs | None, Costs]:
        choice = self._chosen.get(call)
        if choice is None:
            if len(self._chosen) >= _CACHED:
                self._chosen.clear()
            choice = self._chosen[call] = self._compared(call)
        return choice

    def _compared(self, call: Call) -> tuple[Costs | None, Costs]:
        """What `choose` and `limits` return: the limit of least expected time, for the former only where the scan takes
        longer and a query in the middle of the sample does not lose by it."""
        threads = max(1, min(call.threads, call.queries))
        taken = self._of_queries(call)
        scan = self.flat(call)
        alone = self.flat(replace(call, queries=1))
        chosen, limits = None, self.costs
        least, least_chosen = math.inf, _WORTHWHILE * scan
        for budget in _BUDGETS:
            limit = budget * alone
            lost = taken > limit
            scanned = call.queries * float(lost.mean())
            # The fewer queries are given up, the less do they share the reading.
            again = self.flat(replace(call, queries=max(1, math.ceil(scanned)))) * min(1.0, scanned)
            total = self.call + (float(np.minimum(taken, limit).mean()) + self.query) * call.queries / threads + again
            each = np.where(lost, limit + scan / call.queries * threads, taken)
            middle = (
                self.call
                + (float(np.quantile(each, _MIDDLE_SHARE, method="higher")) + self.query) * call.queries / threads
            )
            costs = Costs(self.costs.probe, self.costs.candidate, limit)
            if total < least:
                least, limits = total, costs
            if total < least_chosen and middle < _MIDDLE * scan:
                least_chosen, chosen = total, costs
        return chosen, limits

    def _of_queries(self, call: Call) -> NDArray[np.float64]:
        """Nanoseconds of probes and candidates of each query of the sample; infinite where it is not known."""
        count, radii = self.work.shape
        reached = np.full(count, np.inf)
        if call.k:
            place = math.ceil(call.k / max(call.share, 1e-9)) - 1
            if place < self.neighbours.shape[1]:
                reached = self.neighbours[:, place].astype(np.float64)
        if call.radius is not None:
            reached = np.minimum(reached, call.radius)
        known = reached < radii
        taken = np.full(count, np.inf)
        taken[known] = self.work[known, reached[known].astype(np.int64)]
        return taken


def _work(tables: Tables, queries: kernels.Words, bits: int, costs: Costs) -> NDArray[np.float64]:
    """Return nanoseconds float64 [Q, radii] of the probes and candidates of each query up to each radius; infinite
    beyond the budget."""
    columns = []
    for radius in range(bits + 1):
        sizes, work = tables.count_within(queries, radius, costs=costs)
        taken = work @ np.array([costs.probe, costs.candidate])
        columns.append(np.where(sizes < 0, np.inf, taken))
        if (sizes < 0).mean() > 0.5:
            break
    return np.stack(columns, axis=1)


def _nanoseconds(call: Callable[[], Any]) -> float:
    """Return the least time of a few calls: what disturbs a call only ever makes it longer."""
    least = math.inf
    for _ in range(_ROUNDS):
        start = time.perf_counter_ns()
        call()
        least = min(least, time.perf_counter_ns() - start)
    return least
