"""What the service counts, in base units and with few labels, for Ray to export with ``ray_`` before each name.

A record is an increment in this process. Each process tells its sums to the metrics agent of its node (every 10
seconds, unless RAY_metrics_report_interval_ms says otherwise); :mod:`texthash.service.prometheus` shows them. The agent
keeps the counts of a histogram's buckets exactly and makes its ``_sum`` of their middles, so that a mean is rough. It
forgets a gauge that was not set within two reports, as it has to when a process dies: gauges are set again and again.
Without a Ray cluster a record goes nowhere.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable

from ray.util.metrics import Counter, Gauge, Histogram

import texthash
from texthash.index.memory.flat import join_plans
from texthash.index.releases.release import Release

_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]
_REQUESTS = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
NO_PLAN = "none"  # of queries that nothing can be searched for


class RequestMetrics:
    """Counts the requests of one ingress."""

    def __init__(self) -> None:
        self._requests = Counter("texthash_requests_total", "Answered requests.", ("route", "status"))
        self._duration = Histogram(
            "texthash_request_duration_seconds", "From the request to the end of its answer.", _SECONDS, ("route",)
        )

    def record(self, route: str, status: int, seconds: float) -> None:
        """Count one request; ``route`` is the pattern of the path, so that ids make no new series."""
        self._requests.inc(tags={"route": route, "status": str(status)})
        self._duration.observe(seconds, tags={"route": route})


class PassMetrics:
    """Where the time of searches goes, as one ingress sees it. A pass answers all requests that arrived together, and
    is one record, however many these are."""

    def __init__(self) -> None:
        self._batch = Histogram("texthash_batch_size", "Search requests that one pass answers.", _REQUESTS)
        self._encode = Histogram(
            "texthash_encode_duration_seconds", "One call to the encoder, as its caller sees it.", _SECONDS
        )
        self._search = Histogram(
            "texthash_search_duration_seconds", "One pass over all shards, as its caller sees it.", _SECONDS, ("plan",)
        )
        self._queries = Counter("texthash_queries_total", "Queries, by the plan that answered them.", ("plan",))
        self._candidates = Counter(
            "texthash_candidates_total", "Codes met on the way to the answers of queries.", ("plan",)
        )

    def encoded(self, seconds: float) -> None:
        """Count one call to the encoder."""
        self._encode.observe(seconds)

    def searched(self, requests: int, queries: Iterable[tuple[str | None, int]], seconds: float) -> None:
        """Count one pass.

        Args:
            requests: How many it answered.
            queries: Plan (None: there was nothing to search for) and candidates of each query.
            seconds: From the codes of the queries to what the shards found.
        """
        counts: Tally[str] = Tally()
        candidates: Tally[str] = Tally()
        for plan, met in queries:
            counts[plan or NO_PLAN] += 1
            candidates[plan or NO_PLAN] += met
        self._batch.observe(requests)
        for plan, count in counts.items():
            self._queries.inc(count, {"plan": plan})
            if candidates[plan]:
                self._candidates.inc(candidates[plan], {"plan": plan})
        plans = [plan for plan in counts if plan != NO_PLAN]
        if plans:
            self._search.observe(seconds, {"plan": join_plans(plans)})


class ReleaseMetrics:
    """Tells which release answers."""

    def __init__(self) -> None:
        self._version = Gauge("texthash_index_version", "Number of the release that answers.")
        self._documents = Gauge("texthash_index_documents", "Documents of each shard of that release.", ("shard",))
        self._build = Gauge("texthash_build_info", "Always 1.", ("version", "model", "method", "bits"))

    def record(self, release: Release) -> None:
        """Call when the release has changed, and every few seconds."""
        self._version.set(release.version)
        for number, shard in enumerate(release.shards):
            self._documents.set(shard.documents, {"shard": str(number)})
        tags = {"version": texthash.__version__, "model": release.model, "method": release.method}
        self._build.set(1, tags={**tags, "bits": str(release.bits)})


class FollowerMetrics:
    """How one ingress keeps up with the pointer to the current release."""

    def __init__(self) -> None:
        self._lag = Gauge(
            "texthash_release_lag_seconds", "Time since the release that answers was last known to be the current one."
        )
        self._age = Gauge("texthash_pointer_age_seconds", "Time since the pointer to the current release was read.")
        self._failures = Counter("texthash_follow_failures_total", "Attempts to follow the pointer that failed.")

    def record(self, lag: float, age: float) -> None:
        """Call every few seconds.

        Args:
            lag: Seconds since the release that answers was last known to be current.
            age: Seconds since the pointer was last read.
        """
        self._lag.set(lag)
        self._age.set(age)

    def failed(self) -> None:
        """Count one failed attempt."""
        self._failures.inc()


class ShardMetrics:
    """What one replica of a shard does and holds."""

    def __init__(self, number: int) -> None:
        tags = {"shard": str(number)}
        self._duration = Histogram(
            "texthash_shard_duration_seconds", "One pass over one shard, without the way to it.", _SECONDS, ("shard",)
        ).set_default_tags(tags)
        self._bytes = Gauge(
            "texthash_index_bytes", "Memory of codes, document numbers and search tables of each shard.", ("shard",)
        ).set_default_tags(tags)

    def searched(self, seconds: float) -> None:
        """Count one pass."""
        self._duration.observe(seconds)

    def holds(self, size: int) -> None:
        """Tell the bytes of the release that was opened last, every few seconds."""
        self._bytes.set(size)


class StorageMetrics:
    """Free space for writes, as one ingress sees it."""

    def __init__(self) -> None:
        self._free = Gauge("texthash_free_bytes", "Free disk space where the index and its releases are.")
        self._least = Gauge("texthash_min_free_bytes", "Free disk space with less of which writes are refused.")

    def record(self, free: int, least: int) -> None:
        """Set both gauges, in bytes; to be called every few seconds."""
        self._free.set(free)
        self._least.set(least)
