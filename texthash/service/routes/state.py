"""Routes of the service's information and health."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response

import texthash
from texthash.api.answers import Health, Info, Limits
from texthash.index.releases.release import Release
from texthash.service.audit_writer import AuditWriter
from texthash.service.chance import ChanceDistance
from texthash.service.coordinator import Coordinator
from texthash.service.index_writes import IndexWriteService
from texthash.service.release_watcher import ReleaseWatcher
from texthash.service.request_limits import Checks
from texthash.service.reranking import Reranking
from texthash.service.routes.answers import READ_PROBLEMS, answers

_PING_S = 2.0
_CHANCE_S = 0.5
_TAG = "service"


def add_state(
    app: FastAPI,
    coordinator: Coordinator,
    checks: Checks,
    *,
    reranking: Reranking | None = None,
    index_writes: IndexWriteService | None = None,
    release_watcher: ReleaseWatcher | None = None,
    auditor: AuditWriter | None = None,
) -> None:
    """Add ``GET /v1/info`` and the health probes."""
    chance = ChanceDistance(coordinator)

    @app.get(
        "/v1/info",
        tags=[_TAG],
        summary="Release, model, index and limits",
        responses=answers(*READ_PROBLEMS),
    )
    async def info() -> Info:
        """Return the model, the index, the release that holds both, and the limits of this server."""
        distance = await chance.within(_CHANCE_S)
        limits = Limits(**coordinator.limits.model_dump(), max_window=checks.window)
        reranker = None
        if reranking is not None:
            reranker = {"name": reranking.reranker.name, "candidates": reranking.candidates}
        return _info(coordinator.release, limits, distance, reranker)

    @app.get("/health/live", tags=[_TAG], summary="Liveness probe")
    async def live() -> Health:
        """200 while the process answers at all."""
        return Health(status="ok")

    @app.get(
        "/health/ready",
        tags=[_TAG],
        summary="Readiness probe",
        responses={
            503: {
                "description": "The encoder or a shard does not answer, or the served release lags behind the current "
                "one; `missing` names it.",
                "model": Health,
            }
        },
    )
    @app.get("/health", tags=[_TAG], summary="The same as /health/ready", include_in_schema=False)
    async def ready(response: Response) -> Health:
        """Answer 200 if the encoder and every shard have just answered, and the served release is the current one.

        `writes` shows whether disk space suffices for writes and an object store answers, `audit` whether they leave
        audit lines.
        """
        encoder, missing = await coordinator.ready(_PING_S)
        refusal = None if index_writes is None else await index_writes.refusal()
        freshness = release_watcher.freshness() if release_watcher is not None else None
        if index_writes is not None and freshness is not None:
            refusal = refusal or freshness.storage
        total = len(coordinator.release.shards)
        unavailable = ([] if encoder else ["encoder"]) + [f"shard-{number}" for number in missing]
        unavailable += ["follower"] if freshness is not None and not freshness.fresh else []
        whole = not unavailable
        response.status_code = 200 if whole else 503
        return Health(
            status="ok" if whole else "unavailable",
            encoder=encoder,
            shards={"ready": total - len(missing), "total": total},
            missing=unavailable,
            writes=None if index_writes is None else "refused" if refusal else "accepted",
            writes_refused=refusal,
            audit=None if auditor is None else "failing" if auditor.reason else "written",
            audit_failure=None if auditor is None else auditor.reason,
            release=coordinator.release.name,
            lag_s=round(freshness.lag_s, 3) if freshness is not None else None,
            reason=freshness.reason if freshness is not None else None,
        )


def _info(release: Release, limits: Limits, chance_distance: int | None, reranker: dict[str, Any] | None) -> Info:
    return Info.model_validate(
        {
            "version": texthash.__version__,
            "release": {
                "name": release.name,
                "index_version": release.version,
                "created": release.created,
                "commit": release.commit,
            },
            "model": {
                "name": release.model,
                "version": release.model_version,
                "digest": release.model_digest,
                "run": release.run,
                "method": release.method,
                "bits": release.bits,
                "corpus": release.corpus,
                "edition": release.edition,
                "vocabulary_hash": release.vocabulary_hash,
            },
            "index": {
                "documents": release.documents,
                "shards": len(release.shards),
                "vectors": release.vectors and asdict(release.vectors),
                "chance_distance": chance_distance,
                "keywords": release.keywords,
                "attributes": release.attributes,
                "search_defaults": release.defaults and asdict(release.defaults),
            },
            "reranker": reranker,
            "limits": limits,
        }
    )
