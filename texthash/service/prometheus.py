"""Route ``GET /metrics``: metrics of the service as text for Prometheus, from the metrics agent of each node of Ray.

A replica has its own metrics only; the agents have those of all replicas.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import httpx
import ray
from fastapi import FastAPI
from starlette.responses import Response

from texthash.service.problems import Problem

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FAMILY = "ray_texthash_"
_TIMEOUT_S = 3.0


def add_metrics(app: FastAPI) -> None:
    """Add ``GET /metrics`` for Prometheus; it requires the key of the service, if one is set."""

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(await asyncio.to_thread(exposition), media_type=MEDIA_TYPE)


def exposition() -> str:
    """Return the metrics of all replicas, as of their last report to the agents.

    Raises:
        Problem: No agent answers.
    """
    if not ray.is_initialized():
        raise Problem("metrics-unavailable", "this server runs without Ray, whose metrics agents collect the metrics.")
    addresses = [f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" for node in ray.nodes() if node["Alive"]]
    # Agents speak plain HTTP; `verify=False` saves the 40 ms in which each client would read all certificates.
    with (
        httpx.Client(trust_env=False, verify=False, timeout=_TIMEOUT_S) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        answers = list(pool.map(lambda address: _page(client, address), addresses))
    pages = [answer for answer in answers if isinstance(answer, str)]
    silent = [
        f"{address} ({answer!r})"
        for address, answer in zip(addresses, answers, strict=True)
        if isinstance(answer, Exception)
    ]
    if not pages:
        raise Problem("metrics-unavailable", f"no metrics agent answers: {', '.join(silent)}.")
    return joined(pages) + "".join(f"# no answer from the metrics agent {name}\n" for name in silent)


def joined(pages: Iterable[str]) -> str:
    """Join the pages of several agents: each family of the service once, with the samples of all agents."""
    families: dict[str, dict[str, None]] = {}
    for page in pages:
        family = ""
        for line in page.splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
            if family.startswith(FAMILY):
                families.setdefault(family, {})[line] = None
    return "".join(f"{line}\n" for lines in families.values() for line in lines)


def _page(client: httpx.Client, address: str) -> str | Exception:
    try:
        return client.get(f"http://{address}/metrics").raise_for_status().text
    except (httpx.HTTPError, httpx.InvalidURL) as error:  # The port is -1 where no metrics are collected.
        return error
