"""Snapshots: states of the index that are kept under a name."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import FastAPI

from texthash.api.answers import RestoreReply, SnapshotInfo, Snapshots
from texthash.api.requests import SnapshotRequest
from texthash.service.index_writes import Editor
from texthash.service.routes.answers import BODY_PROBLEMS, READ_PROBLEMS, WRITE_PROBLEMS, answers

_TAG = "snapshots"


def add_snapshots(app: FastAPI, editor: Editor) -> None:
    """Add the routes of snapshots."""

    @app.get("/v1/snapshots", tags=[_TAG], summary="List them", responses=answers(*READ_PROBLEMS))
    async def list_snapshots() -> Snapshots:
        """All snapshots, oldest first."""
        return Snapshots(snapshots=[SnapshotInfo(**asdict(snapshot)) for snapshot in editor.snapshots()])

    @app.post(
        "/v1/snapshots",
        tags=[_TAG],
        summary="Take one",
        responses=answers(*BODY_PROBLEMS, "snapshot-exists"),
    )
    async def take_snapshot(request: SnapshotRequest) -> SnapshotInfo:
        """Keep what is served now. It copies nothing, and takes space only for what is written later."""
        return SnapshotInfo(**asdict(editor.take_snapshot(request.name)))

    @app.post(
        "/v1/snapshots/{name}/restore",
        tags=[_TAG],
        summary="Go back to one",
        responses=answers(*WRITE_PROBLEMS, "unknown-snapshot"),
    )
    async def restore_snapshot(name: str) -> RestoreReply:
        """Bring back the documents of a snapshot; every search sees it when the answer comes."""
        done, release = await editor.restore(name)
        return RestoreReply(documents=done.documents, release=release.name, index_version=release.version)
