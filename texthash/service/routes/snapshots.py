"""Routes of snapshots, the named states of the index."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import Depends, FastAPI, Request

from texthash.api.answers import RestoreReply, SnapshotInfo, Snapshots
from texthash.api.requests import EmptyRequest, SnapshotRequest
from texthash.service.index_writes import IndexWriteService
from texthash.service.middleware.request_log import audit
from texthash.service.request_limits import Checks
from texthash.service.routes.answers import BODY_PROBLEMS, EMPTY_BODY, READ_PROBLEMS, WRITE_PROBLEMS, answers

_TAG = "snapshots"
_NOTHING = EmptyRequest()


def add_snapshots(app: FastAPI, checks: Checks, index_writes: IndexWriteService) -> None:
    """Add the routes of snapshots."""

    @app.get("/v1/snapshots", tags=[_TAG], summary="List snapshots", responses=answers(*READ_PROBLEMS))
    async def list_snapshots() -> Snapshots:
        """List all snapshots, oldest first."""
        return Snapshots(snapshots=[SnapshotInfo(**asdict(snapshot)) for snapshot in await index_writes.snapshots()])

    @app.post(
        "/v1/snapshots",
        tags=[_TAG],
        summary="Take a snapshot",
        dependencies=[Depends(checks.body)],
        responses=answers(*BODY_PROBLEMS, "read-only-key", "snapshot-exists", "insufficient-storage"),
    )
    async def take_snapshot(request: SnapshotRequest, http: Request) -> SnapshotInfo:
        """Take a snapshot of the current state. It copies nothing, and takes space only for what is written later."""
        audit(http.scope, "take_snapshot")
        snapshot = await index_writes.take_snapshot(request.name)
        audit(http.scope, "take_snapshot", snapshot=snapshot.name, release=snapshot.release)
        return SnapshotInfo(**asdict(snapshot))

    @app.post(
        "/v1/snapshots/{name}/restore",
        tags=[_TAG],
        summary="Restore a snapshot",
        dependencies=[Depends(checks.body)],
        openapi_extra=EMPTY_BODY,
        responses=answers(*WRITE_PROBLEMS, "unknown-snapshot"),
    )
    async def restore_snapshot(name: str, http: Request, _: EmptyRequest = _NOTHING) -> RestoreReply:
        """Restore the documents of a snapshot; every search sees them when the response arrives."""
        audit(http.scope, "restore_snapshot")
        done, release = await index_writes.restore(name)
        audit(http.scope, "restore_snapshot", snapshot=name, documents=done.documents, release=release.name)
        return RestoreReply(documents=done.documents, release=release.name, index_version=release.version)
