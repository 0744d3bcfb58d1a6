"""What the service counts; Ray exports it on the metrics port of each node, with ``ray_`` before each name.

A record is an increment in this process; without a Ray cluster it goes nowhere and costs the same.
"""

from __future__ import annotations

from ray.util.metrics import Counter, Gauge, Histogram

import texthash
from texthash.search.release import Release

_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]


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


class ReleaseMetrics:
    """Tells which release answers."""

    def __init__(self) -> None:
        self._version = Gauge("texthash_index_version", "Number of the release that answers.")
        self._build = Gauge("texthash_build_info", "Always 1.", ("version", "model", "method", "bits"))

    def record(self, release: Release) -> None:
        """Call when the release has changed."""
        self._version.set(release.version)
        tags = {"version": texthash.__version__, "model": release.model, "method": release.method}
        self._build.set(1, tags={**tags, "bits": str(release.bits)})
