"""Cost model of the search strategies of an index, measured on its own codes, and the choice of the cheaper one.

A scan has a fixed cost, in which memory is read, and a cost per query. The cost of a search by tables is that of its
probes and candidates, whose number depends on the distance of the query's k-th neighbour. A sample of documents serves
as queries: the distances of their neighbours, and the probes and candidates up to each distance, are counted once. From
these the cost of a call is predicted for any k, radius and share of allowed documents.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
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
# Costs are counted up to this many scans, and up to the distance at which half of the sample costs more.
_FURTHEST = 0.6
# Shares of a scan's cost after which the tables give up a query. The share that suits the sample best is chosen.
_BUDGETS = (0.5, 0.25, 0.12, 0.06)
# The tables are chosen only if their predicted cost is below this share of the scan's, since predictions are inexact.
_WORTHWHILE = 0.9
# A typical query may take at most this multiple of a scan, however much the others gain. It is a quantile above the
# median, because the median of a small sample is inexact.
_MIDDLE = 1.1
_MIDDLE_SHARE = 0.7
# Lower bounds of the fitted costs in nanoseconds: a small number of probes determines their cost poorly.
_LEAST_PROBE, _LEAST_CANDIDATE = 3.0, 0.5
_CACHED = 4096
# If at most this share of rows is allowed, a scan compares only these, which takes about half of its time.
_SPARSE = 1 / 64
_SPARSE_SCAN = 0.5


@dataclass(frozen=True)
class Call:
    """Properties of a call on which its cost depends.

    Attributes:
        queries: Number of queries.
        k: Number of hits per query, including skipped ones; 0 if hits are only counted.
        radius: Largest distance in bits; None for no limit.
        share: Share of allowed documents, rounded to a power of 2.
        threads: Number of threads.
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
        rows: Number of documents in the index.
        words: Number of 64-bit words of a code.
        scan: Fixed cost of a scan.
        scan_query: Cost of a scan per query.
        call: Fixed cost of a search by tables.
        query: Cost of a search by tables per query.
        costs: Costs of a probe and of a candidate.
        neighbours: Distances of the neighbours of each document of the sample, uint16 [sample, up to 4096].
        work: Nanoseconds of probes and candidates up to each radius, float64 [sample, radii].
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
        """Measure the costs of an index. Takes well under a second for 10 million codes."""
        words = tables.words
        rows = words.shape[1]
        sample = np.linspace(0, rows - 1, min(_SAMPLE, rows)).astype(np.int64)
        queries = np.ascontiguousarray(words[:, sample])
        one = np.ascontiguousarray(queries[:, :1])
        several = np.ascontiguousarray(queries[:, np.arange(_BATCH) % len(sample)])
        alone = _nanoseconds(lambda: kernels.nearest(words, one, _K_TIMED[1]))
        together = _nanoseconds(lambda: kernels.nearest(words, several, _K_TIMED[1]))
        scan_query = min(max(together - alone, 0.0) / (_BATCH - 1), alone)
        # The nearest neighbour is the document itself or an equal code, so it is dropped.
        neighbours = kernels.nearest(words, queries, _NEIGHBOURS + 1)[0][:, 1:]

        limit = Costs(budget=_FURTHEST * alone)
        singles = [np.ascontiguousarray(queries[:, [column]]) for column in range(len(sample))]
        observed = []
        for k in _K_TIMED:
            for query in singles:
                found = tables.nearest(query, k, costs=limit)
                if found.sizes[0] >= 0:
                    observed.append((_nanoseconds(partial(tables.nearest, query, k, costs=limit)), 1, *found.work[0]))
        measured = (rows, len(words), alone - scan_query, scan_query)
        if not observed:  # Every search would cost more than the scan.
            return cls(*measured, 0.0, 0.0, Costs.of_scan(words), neighbours, np.empty((len(sample), 0)))
        # The fit minimises relative errors: a call of 20 microseconds matters as much as one of a millisecond.
        table = np.array(observed, np.float64)
        call, probe, candidate = non_negative_fit(table[:, 1:] / table[:, :1], np.ones(len(table)))
        costs = Costs(
            max(float(probe), _LEAST_PROBE), max(float(candidate), _LEAST_CANDIDATE), budget=_FURTHEST * alone
        )
        spent = _work(tables, queries, bits, costs)
        batch = np.ascontiguousarray(np.repeat(singles[int(np.argmin(spent[:, 0]))], _BATCH, axis=1))
        query = max(0.0, _nanoseconds(partial(tables.nearest, batch, 1, costs=costs)) - call) / _BATCH
        return cls(*measured, float(call), query, costs, neighbours, spent)

    def flat(self, call: Call) -> float:
        """Return the predicted nanoseconds of a call by the scan."""
        threads = useful_threads(call.threads, self.rows * self.words * call.queries)
        # A sparse mask is scanned 32 rows at a time, and only allowed rows are compared.
        part = 1.0 if call.share > _SPARSE else _SPARSE_SCAN
        return (self.scan + self.scan_query * call.queries) * part / threads

    def choose(self, call: Call) -> Costs | None:
        """Return the costs and the budget of a search by tables, or None if the scan is predicted to be faster."""
        return self._choice(call)[0]

    def limits(self, call: Call) -> Costs:
        """Return the costs and the best budget of a search by tables, even if the scan is faster."""
        return self._choice(call)[1]

    def _choice(self, call: Call) -> tuple[Costs | None, Costs]:
        choice = self._chosen.get(call)
        if choice is None:
            if len(self._chosen) >= _CACHED:
                self._chosen.clear()
            choice = self._chosen[call] = self._compared(call)
        return choice

    def _compared(self, call: Call) -> tuple[Costs | None, Costs]:
        """Return the results of `choose` and `limits`: the budget of least predicted time.

        `choose` has one only if the scan takes longer and a typical query of the sample is not slower.
        """
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
            # A scan of few queries shares the reading of memory among fewer of them.
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
        """Return the nanoseconds of probes and candidates of each query of the sample; infinite where unknown."""
        count, radii = self.work.shape
        reached = np.full(count, np.inf)
        if call.k:
            rank = math.ceil(call.k / max(call.share, 1e-9)) - 1
            if rank < self.neighbours.shape[1]:
                reached = self.neighbours[:, rank].astype(np.float64)
        if call.radius is not None:
            reached = np.minimum(reached, call.radius)
        known = reached < radii
        taken = np.full(count, np.inf)
        taken[known] = self.work[known, reached[known].astype(np.int64)]
        return taken


def non_negative_fit(columns: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of a few columns, none negative, of least squared error, float64 [columns].

    They are those of the best set of columns whose unrestricted fit has no negative weight. SciPy's ``nnls`` would take
    16 MB in every process of a service for this.
    """
    count = columns.shape[1]
    best, least = np.zeros(count), float(wanted @ wanted)
    for chosen in product((False, True), repeat=count):
        some = np.flatnonzero(chosen)
        weights = np.zeros(count)
        weights[some] = np.linalg.lstsq(columns[:, some], wanted)[0]
        error = columns @ weights - wanted
        if (weights >= 0).all() and error @ error < least:
            best, least = weights, float(error @ error)
    return best


def _work(tables: Tables, queries: kernels.Words, bits: int, costs: Costs) -> NDArray[np.float64]:
    """Return the nanoseconds of the probes and candidates of each query up to each radius, float64 [Q, radii].

    They are infinite beyond the budget.
    """
    columns = []
    for radius in range(bits + 1):
        sizes, work = tables.count_within(queries, radius, costs=costs)
        taken = work @ np.array([costs.probe, costs.candidate])
        columns.append(np.where(sizes < 0, np.inf, taken))
        if (sizes < 0).mean() > 0.5:
            break
    return np.stack(columns, axis=1)


def _nanoseconds(call: Callable[[], Any]) -> float:
    """Return the shortest time of several calls in nanoseconds: disturbances only ever lengthen a call."""
    least = math.inf
    for _ in range(_ROUNDS):
        start = time.perf_counter_ns()
        call()
        least = min(least, time.perf_counter_ns() - start)
    return least
