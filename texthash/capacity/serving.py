"""Plan of a service: shards, nodes and memory for a corpus, from rates measured on this machine.

Search is assumed to be a scan: a single query reads every code once, and queries in a batch share the reading. Memory
holds the codes and the numbers of the documents; texts stay on disk.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Gt

from texthash.errors import UsageError
from texthash.hamming.codes import check_bits
from texthash.io.atomic import write_text
from texthash.io.records import read_typed
from texthash.progress import log_line

if TYPE_CHECKING:
    from texthash.paths import StateDir

_PROBE_BYTES = 1 << 27  # Larger than any cache.
_PROBE_BATCH = 64
_PROBE_K = 10
_ROUNDS = 5
_BYTES_BESIDE_CODE = 16  # Document number and row address.
_USABLE_MEMORY = 0.7
_USABLE_CORES = 0.6
# Cost of ingress, encoder, merge and Ray together in the service benchmark: 2 cores, 804 searches per second.
SERVICE_CORE_MS = 2.5
SERVICE_LATENCY_MS = 10.0


@dataclass(frozen=True)
class Rates:
    """Measured scan rates of one core, for codes of one width.

    Attributes:
        bits: Width of a code.
        scan_ns: Nanoseconds per code for a single query.
        batch_ns: Nanoseconds per code and query in batches of 64.
        machine: Name of the measured processor.
        measured: Time of the measurement, ISO 8601, UTC.
    """

    bits: int
    scan_ns: Annotated[float, Gt(0)]
    batch_ns: Annotated[float, Gt(0)]
    machine: str
    measured: str


_MOST = 1e30  # of anything that is counted here: more overflows where it is multiplied


@dataclass(frozen=True)
class Demand:
    """Required capacity, and properties of a node.

    Attributes:
        documents: Number of documents in the index.
        bits: Width of a code.
        qps: Queries per second.
        replicas: Number of copies of every shard.
        latency_ms: Largest latency of a single query in milliseconds.
        node_memory_gib: Memory of a node in GiB.
        node_cores: Number of cores of a node.
        node_price: Price of a node per hour, in any currency; 0 if unknown.
        service_core_ms: Core time of a query without the scan, in milliseconds.
        index_bytes: Memory of a document in bytes; 0: that of its code, number and row address.
    """

    documents: int
    bits: int = 64
    qps: float = 100.0
    replicas: int = 1
    latency_ms: float = 100.0
    node_memory_gib: float = 32.0
    node_cores: int = 8
    node_price: float = 0.0
    service_core_ms: float = SERVICE_CORE_MS
    index_bytes: int = 0


@dataclass(frozen=True)
class Plan:
    """Capacity plan for a demand.

    Attributes:
        bytes_per_document: Memory per document in bytes.
        memory_gib: Memory of all replicas together.
        shards: Number of shards, each searched by one core for one query.
        documents_per_shard: Number of documents of the largest shard.
        nodes: Number of nodes.
        nodes_for_memory: Number of nodes that memory alone requires.
        nodes_for_load: Number of nodes that the queries alone require.
        latency_ms: Latency of a single query: service and scan of a shard.
        core_ms_per_query: Core time of a query over all shards, with batching.
        queries_per_second: Largest query rate of these nodes.
        price_per_million_queries: Price at the required rate; None without a price.
        assumptions: Assumptions of the plan.
    """

    bytes_per_document: int
    memory_gib: float
    shards: int
    documents_per_shard: int
    nodes: int
    nodes_for_memory: int
    nodes_for_load: int
    latency_ms: float
    core_ms_per_query: float
    queries_per_second: float
    price_per_million_queries: float | None
    assumptions: tuple[str, ...]


def plan(demand: Demand, rates: Rates) -> Plan:
    """Compute the capacity that a demand requires.

    Raises:
        UsageError: A value of the demand is out of range, or no number of shards reaches the latency.
    """
    check_demand(demand)
    if rates.bits != demand.bits:
        raise UsageError(
            f"the rates are for {rates.bits} bits, not for {demand.bits}.", "measure again with --calibrate."
        )
    documents, cores = demand.documents, demand.node_cores
    each = demand.index_bytes or 8 * math.ceil(demand.bits / 64) + _BYTES_BESIDE_CODE
    memory = documents * each * demand.replicas
    node_bytes = demand.node_memory_gib * 2**30 * _USABLE_MEMORY
    for_memory = math.ceil(memory / node_bytes)
    core_ms = demand.service_core_ms + documents * rates.batch_ns * 1e-6
    for_load = math.ceil(demand.qps * core_ms * 1e-3 / (cores * _USABLE_CORES))
    scan_ms = documents * rates.scan_ns * 1e-6
    for_latency = math.ceil(scan_ms / (demand.latency_ms - SERVICE_LATENCY_MS))
    per_node = math.ceil(documents * each / node_bytes)
    shards = max(1, for_latency, per_node)
    # The scans of a single query run in parallel, so each shard needs a core.
    nodes = max(1, demand.replicas, for_memory, for_load, math.ceil(shards * demand.replicas / cores))
    capacity = nodes * cores * _USABLE_CORES / (core_ms * 1e-3)
    price = nodes * demand.node_price / 3600 / demand.qps * 1e6 if demand.node_price else None
    return Plan(
        bytes_per_document=each,
        memory_gib=round(memory / 2**30, 2),
        shards=shards,
        documents_per_shard=math.ceil(documents / shards),
        nodes=nodes,
        nodes_for_memory=for_memory,
        nodes_for_load=for_load,
        latency_ms=round(SERVICE_LATENCY_MS + scan_ms / shards, 1),
        core_ms_per_query=round(core_ms, 2),
        queries_per_second=round(capacity, 1),
        price_per_million_queries=None if price is None else round(price, 4),
        assumptions=(
            f"one core scans {1e3 / rates.scan_ns:,.0f} million codes per second for one query, and "
            f"{1e3 / rates.batch_ns:,.0f} million for each of {_PROBE_BATCH} queries at once; measured on "
            f"{rates.machine}, {rates.measured}",
            "every query scans every code (flat search, exact); multi-index hashing is faster where it is chosen",
            f"service, encoding and merging: {demand.service_core_ms:g} core-ms per query and "
            f"{SERVICE_LATENCY_MS:g} ms of latency, as measured by the service benchmark",
            f"nodes use {_USABLE_MEMORY:.0%} of {demand.node_memory_gib:g} GiB and {_USABLE_CORES:.0%} of {cores} "
            "cores; cores share the memory bandwidth without loss",
            f"{each} bytes per document in memory: "
            + ("code, number and what searches need beside them" if demand.index_bytes else "code, number, row address")
            + "; texts and labels stay on disk",
        ),
    )


def calibrate(bits: int) -> Rates:
    """Measure the rates of this machine.

    Takes a few seconds and 300 MB of memory, and up to a minute more where no kernels have been compiled.
    """
    from texthash.hamming.codes import to_words
    from texthash.hamming.kernels import top_k, warmup

    check_bits(bits)
    warmup(bits)
    width = bits // 8
    rng = np.random.default_rng(0)
    rows = _PROBE_BYTES // (8 * math.ceil(bits / 64))
    words = to_words(rng.integers(0, 256, (rows, width), dtype=np.uint8))

    def seconds(queries: int) -> float:
        query_words = to_words(rng.integers(0, 256, (queries, width), dtype=np.uint8))
        start = time.perf_counter()
        top_k(words, query_words, _PROBE_K)
        return time.perf_counter() - start

    alone = median(seconds(1) for _ in range(_ROUNDS))
    together = median(seconds(_PROBE_BATCH) for _ in range(_ROUNDS)) / _PROBE_BATCH
    return Rates(
        bits=bits,
        scan_ns=alone / rows * 1e9,
        batch_ns=together / rows * 1e9,
        machine=machine_name(),
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def kept_rates(home: StateDir, bits: int) -> Rates | None:
    """Return the rates stored by :func:`keep_rates` for codes of this width; None if there are none."""
    try:
        return read_typed(Rates, _path(home, bits), "measure again with --calibrate.")
    except FileNotFoundError:
        return None


def keep_rates(home: StateDir, rates: Rates) -> None:
    """Store measured rates for later plans; where they cannot be written, this is logged, and they are used once."""
    path = _path(home, rates.bits)
    try:
        home.make()
        write_text(path, json.dumps(asdict(rates), indent=2))
    except OSError as error:
        log_line(f"the rates are not kept, so that the next plan measures again: {path}: {error.strerror}")


def check_demand(demand: Demand) -> None:
    """Raise :class:`UsageError` for a demand with a value that is out of range."""
    check_bits(demand.bits)
    for name in ("documents", "qps", "replicas", "node_memory_gib", "node_cores"):
        if not 0 < getattr(demand, name) < _MOST:
            raise UsageError(
                f"{name}={getattr(demand, name)} is not a number from 0 to {_MOST:g}.", "give a positive one."
            )
    if not 0 <= demand.node_price < _MOST:
        raise UsageError(f"node_price={demand.node_price} is no price.", "give a number from 0, which is unknown.")
    if not SERVICE_LATENCY_MS < demand.latency_ms < _MOST:
        raise UsageError(
            f"latency_ms={demand.latency_ms:g} leaves nothing for the scan: the service alone takes "
            f"{SERVICE_LATENCY_MS:g} ms.",
            "allow more, a finite number.",
        )


def machine_name() -> str:
    """Return the name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        import platform

        return platform.processor() or platform.machine()


def _path(home: StateDir, bits: int) -> Path:
    return home.root / "calibration" / f"{bits}.json"
