"""Route ``GET /metrics``."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from starlette.responses import Response

from texthash.service.prometheus import MEDIA_TYPE, exposition


def add_metrics(app: FastAPI) -> None:
    """Add ``GET /metrics`` for Prometheus; it requires the key of the service, if one is set."""

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(await asyncio.to_thread(exposition), media_type=MEDIA_TYPE)
