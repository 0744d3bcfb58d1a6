"""Metrics of the service, in base units and with few labels; Ray exports them with the prefix ``ray_``.

A record is an increment in this process. Each process reports its sums to the metrics agent of its node, by default
every 10 seconds (RAY_metrics_report_interval_ms); :mod:`texthash.service.prometheus` reads them there. The agent keeps
the counts of a histogram's buckets exactly and computes its ``_sum`` from their middles, so that a mean is approximate.
It drops a gauge that was not set within two reports, so gauges are set every few seconds. Without a Ray cluster a
record has no effect.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Sequence

from ray.util.metrics import Counter, Gauge, Histogram

import texthash
from texthash.index.memory.hits import join_plans
from texthash.index.releases.release import Release

_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]
_REQUESTS = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
NO_PLAN = "none"  # plan of a query without a known word


class RequestMetrics:
    """Metrics of the requests of one ingress."""

    def __init__(self) -> None:
        self._requests = Counter("texthash_requests_total", "Answered requests.", ("route", "status"))
        self._duration = Histogram(
            "texthash_request_duration_seconds", "From the request to the end of its response.", _SECONDS, ("route",)
        )

    def record(self, route: str, status: int, seconds: float) -> None:
        """Count one request; ``route`` is the pattern of its path, so that ids create no series."""
        self._requests.inc(tags={"route": route, "status": str(status)})
        self._duration.observe(seconds, tags={"route": route})


class PassMetrics:
    """Durations of searches in one ingress. A pass answers all requests that arrived together, and is one record."""

    def __init__(self) -> None:
        self._batch = Histogram("texthash_batch_size", "Search requests that one pass answers.", _REQUESTS)
        self._encode = Histogram(
            "texthash_encode_duration_seconds", "One call to the encoder, measured by the caller.", _SECONDS
        )
        self._search = Histogram(
            "texthash_search_duration_seconds", "One pass over all shards, measured by the caller.", _SECONDS, ("plan",)
        )
        self._searches = Counter("texthash_searches_total", "Search requests, by their mode.", ("mode",))
        self._queries = Counter("texthash_queries_total", "Queries, by the plan that answered them.", ("plan",))
        self._candidates = Counter("texthash_candidates_total", "Codes compared with queries.", ("plan",))

    def encoded(self, seconds: float) -> None:
        """Count one call to the encoder."""
        self._encode.observe(seconds)

    def searched(self, modes: Sequence[str], queries: Iterable[tuple[str | None, int]], seconds: float) -> None:
        """Count one pass.

        Args:
            modes: Mode of each answered request.
            queries: Plan (None without a known word) and number of candidates of each query.
            seconds: Time from the codes of the queries to the results of the shards.
        """
        counts: Tally[str] = Tally()
        candidates: Tally[str] = Tally()
        for plan, compared in queries:
            counts[plan or NO_PLAN] += 1
            candidates[plan or NO_PLAN] += compared
        self._batch.observe(len(modes))
        for mode, count in Tally(modes).items():
            self._searches.inc(count, {"mode": mode})
        for plan, count in counts.items():
            self._queries.inc(count, {"plan": plan})
            if candidates[plan]:
                self._candidates.inc(candidates[plan], {"plan": plan})
        plans = [plan for plan in counts if plan != NO_PLAN]
        if plans:
            self._search.observe(seconds, {"plan": join_plans(plans)})


class ReleaseMetrics:
    """Metrics of the release that is served."""

    def __init__(self) -> None:
        self._version = Gauge("texthash_index_version", "Number of the release that is served.")
        self._documents = Gauge("texthash_index_documents", "Documents of each shard of that release.", ("shard",))
        self._build = Gauge("texthash_build_info", "Always 1.", ("version", "model", "method", "bits"))

    def record(self, release: Release) -> None:
        """Set the gauges; call it when the release has changed, and every few seconds."""
        self._version.set(release.version)
        for number, shard in enumerate(release.shards):
            self._documents.set(shard.documents, {"shard": str(number)})
        tags = {"version": texthash.__version__, "model": release.model, "method": release.method}
        self._build.set(1, tags={**tags, "bits": str(release.bits)})


class PlacementMetrics:
    """Metrics of the placement of encoder and shards, set by each ingress."""

    def __init__(self) -> None:
        self._placement = Gauge("texthash_placement_info", "Always 1.", ("encoder", "shards"))

    def record(self, *, encoder: bool, shards: bool) -> None:
        """Set the gauge; call it every few seconds.

        Args:
            encoder: Whether the encoder is in the ingress.
            shards: Whether the shards are.
        """
        self._placement.set(1, tags={"encoder": _place(encoder), "shards": _place(shards)})


def _place(local: bool) -> str:
    return "ingress" if local else "deployment"


class FollowerMetrics:
    """Metrics of the watcher that follows the pointer to the current release."""

    def __init__(self) -> None:
        self._lag = Gauge(
            "texthash_release_lag_seconds", "Time since the served release was last known to be the current one."
        )
        self._age = Gauge("texthash_pointer_age_seconds", "Time since the pointer to the current release was read.")
        self._failures = Counter("texthash_follow_failures_total", "Attempts to follow the pointer that failed.")

    def record(self, lag: float, age: float) -> None:
        """Set the gauges; call it every few seconds.

        Args:
            lag: Seconds since the served release was last known to be current.
            age: Seconds since the pointer was last read.
        """
        self._lag.set(lag)
        self._age.set(age)

    def failed(self) -> None:
        """Count one failed attempt."""
        self._failures.inc()


class AuditMetrics:
    """Metrics of the audit lines of one ingress."""

    def __init__(self) -> None:
        self._failures = Counter("texthash_audit_failures_total", "Writes without an audit line.")

    def failed(self) -> None:
        """Count one line that could not be written."""
        self._failures.inc()


class ShardMetrics:
    """Metrics of one replica of a shard."""

    def __init__(self, number: int) -> None:
        tags = {"shard": str(number)}
        self._duration = Histogram(
            "texthash_shard_duration_seconds", "One pass over one shard, measured in its replica.", _SECONDS, ("shard",)
        ).set_default_tags(tags)
        self._bytes = Gauge(
            "texthash_index_bytes", "Memory of codes, document numbers and search tables of each shard.", ("shard",)
        ).set_default_tags(tags)
        self._local = Gauge(
            "texthash_documents_local", "1 if the documents of hits are read from the node, 0 from a store.", ("shard",)
        ).set_default_tags(tags)

    def searched(self, seconds: float) -> None:
        """Count one pass."""
        self._duration.observe(seconds)

    def holds(self, size: int, local: bool) -> None:
        """Describe the release that was opened last; call it every few seconds.

        Args:
            size: Bytes in memory.
            local: Whether its documents are on this node.
        """
        self._bytes.set(size)
        self._local.set(int(local))


class StorageMetrics:
    """Metrics of the free disk space, measured by one ingress."""

    def __init__(self) -> None:
        self._free = Gauge("texthash_free_bytes", "Free disk space where the index and its releases are.")
        self._least = Gauge("texthash_min_free_bytes", "Free disk space below which writes are refused.")

    def record(self, free: int, least: int) -> None:
        """Set both gauges, in bytes; call it every few seconds."""
        self._free.set(free)
        self._least.set(least)
