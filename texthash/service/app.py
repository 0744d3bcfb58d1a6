"""The Serve application: ingress (batches requests that arrive together) -> encoder -> a deployment per shard -> merge.

``texthash.service.app:build`` is the import path for ``serve deploy``; :func:`texthash.service.run.serve_release`
starts the same application from a program. All replicas of an application are built for one release, by name: a replica
that is restarted opens that release, whatever has become current since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import Field, ValidationError
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ReplicaState

from texthash.config import Section, ServiceConfig
from texthash.errors import UsageError
from texthash.home import resolve_home
from texthash.search.release import CURRENT, Release, read_release
from texthash.service.encoder import Encoded, EncoderServer, Texts
from texthash.service.gateway import Answer, Gateway
from texthash.service.problems import Problem
from texthash.service.schemas import SearchRequest
from texthash.service.shards import Found, Group, ShardServer
from texthash.service.web import make_app

# Requests that one batch of the ingress may join, and batches on their way at once: while one is being searched, the
# texts of the next are encoded.
_BATCH = 64
_BATCHES = 2
# How long a call waits for a deployment without a living replica before it is answered 503.
_PATIENCE_S = 3.0
_RETRY_AFTER_S = "2"
# A dead replica is noticed soon, and one that is replaced goes on until its successor has opened its release.
_LIFE = {"health_check_period_s": 2.0, "health_check_timeout_s": 10.0, "max_surge_percent": 100}


class ServeArgs(Section):
    """Arguments of :func:`build`."""

    home: str | None = Field(None, description="state directory; null: TEXTHASH_HOME of the cluster")
    release: str = Field(CURRENT, description="name of a release, or current")
    service: ServiceConfig = Field(default_factory=lambda: ServiceConfig.model_validate({"limits": {}}))
    cpus: float = Field(0.1, gt=0, description="CPUs that each replica claims")
    encoder_threads: int = Field(1, ge=1, description="threads of one pass through the model")


def build(args: dict[str, Any]) -> serve.Application:
    """Make the Serve application of a release.

    Args:
        args: As :class:`ServeArgs`.

    Raises:
        UsageError: an argument that does not exist, or a value out of range.
        TexthashError: nothing is released there, or the release is broken.
        ModelMismatchError: its model and its index do not belong together.
    """
    try:
        parsed = ServeArgs.model_validate(args)
    except ValidationError as error:
        raise UsageError(f"the arguments of the service are wrong: {error}", "see deploy/serve.yaml.") from None
    home = resolve_home(parsed.home)
    release = read_release(home, parsed.release)
    release.check(home)
    limits = parsed.service.limits
    common: dict[str, Any] = {
        "ray_actor_options": {"num_cpus": parsed.cpus},
        "max_ongoing_requests": limits.max_ongoing_requests,
        "max_queued_requests": limits.max_queued_requests,
        **_LIFE,
    }
    place = (str(home.root), release.name)
    encoder = serve.deployment(name="encoder", **common)(_Encoder).bind(*place, parsed.encoder_threads)
    shards = [
        serve.deployment(name=f"shard-{number}", **common)(_Shard).bind(*place, number)
        for number in range(len(release.shards))
    ]
    # The guard of the ingress answers 429 when it is full; Serve's own bound lies a little higher, so that it can.
    room = limits.max_ongoing_requests + limits.max_queued_requests + _BATCH
    ingress = serve.deployment(name="ingress", **{**common, "max_ongoing_requests": room})(serve.ingress()(_Ingress))
    return ingress.bind(parsed.service.model_dump(), *place, encoder, *shards)


class _Encoder(EncoderServer):
    """The encoder; calls that are waiting are encoded together."""

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=0.0)
    async def encode(self, calls: list[Texts]) -> list[Encoded]:
        """One call, to the caller."""
        return await self.encode_many(calls)

    async def check_health(self) -> None:
        """Called by Serve: fails when the model does not encode."""
        await self.self_test()


class _Shard(ShardServer):
    """One shard."""

    async def check_health(self) -> None:
        """Called by Serve: fails when the shard does not search."""
        await self.self_test()


class _Ingress:
    """The HTTP application, in front of the encoder and the shards."""

    def __init__(
        self, service: dict[str, Any], home: str, release: str, encoder: DeploymentHandle, *shards: DeploymentHandle
    ) -> None:
        config = ServiceConfig.model_validate(service)
        record: Release = read_release(resolve_home(home), release)
        remotes = [_RemoteShard(handle, number) for number, handle in enumerate(shards)]
        self._gateway = Gateway(record, config.limits, _RemoteEncoder(encoder), remotes)
        together: Any = self._together
        together.set_batch_wait_timeout_s(config.batch_wait_ms / 1000)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return make_app(self._gateway, self._search)

    @serve.batch(max_batch_size=_BATCH, batch_wait_timeout_s=0.002, max_concurrent_batches=_BATCHES)
    async def _together(self, requests: list[SearchRequest]) -> list[Answer | Problem]:
        return await self._gateway.search(requests)

    async def _search(self, request: SearchRequest) -> Answer:
        together: Any = self._together  # serve.batch hands over one request, and gives back the answer to it
        answer: Answer | Problem = await together(request)
        if isinstance(answer, Problem):
            raise answer
        return answer


class _Remote:
    """Calls to one deployment: again after the death of a replica, a problem when it stays away."""

    def __init__(self, handle: DeploymentHandle, away: Callable[[], Problem]) -> None:
        self._handle = handle
        self._away = away

    async def _call(self, method: str, *args: Any) -> Any:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _PATIENCE_S
        while True:
            try:
                return await self._attempt(getattr(self._handle, method), args)
            except (RayActorError, DeploymentUnavailableError, BackPressureError):
                # All calls only read, so that a second one does no harm.
                if loop.time() >= give_up:
                    raise self._away() from None
                await asyncio.sleep(0.1)

    async def _attempt(self, method: Any, args: tuple[Any, ...]) -> Any:
        async def result() -> Any:
            return await method.remote(*args)

        waiting = asyncio.ensure_future(result())
        try:
            done, _ = await asyncio.wait({waiting}, timeout=_PATIENCE_S)
            while not done:
                if not await asyncio.to_thread(_has_replica, self._handle):
                    raise self._away()
                # A replica lives and is slow: go on until the deadline of the request.
                done, _ = await asyncio.wait({waiting}, timeout=_PATIENCE_S)
            return waiting.result()
        finally:
            waiting.cancel()


def _has_replica(handle: DeploymentHandle) -> bool:
    application = serve.status().applications.get(handle.app_name)
    deployment = application.deployments.get(handle.deployment_name) if application else None
    return deployment is not None and deployment.replica_states.get(ReplicaState.RUNNING, 0) > 0


class _RemoteEncoder(_Remote):
    def __init__(self, handle: DeploymentHandle) -> None:
        super().__init__(
            handle,
            lambda: Problem(
                "encoder-unavailable",
                "the encoder is being restarted; texts cannot be encoded until it is back.",
                headers={"Retry-After": _RETRY_AFTER_S},
            ),
        )

    async def encode(self, call: Texts) -> Encoded:
        return await self._call("encode", call)

    async def ping(self, release: str) -> bool:
        return await self._call("ping", release)


class _RemoteShard(_Remote):
    def __init__(self, handle: DeploymentHandle, number: int) -> None:
        super().__init__(
            handle,
            lambda: Problem(
                "shard-unavailable",
                f"shard {number} of the index is being restarted; no exact answer is possible until it is back.",
                headers={"Retry-After": _RETRY_AFTER_S},
                shard=number,
            ),
        )

    async def search(self, release: str, groups: Sequence[Group]) -> list[Found]:
        return await self._call("search", release, groups)

    async def documents(
        self, release: str, wanted: Sequence[tuple[list[int], tuple[str, ...]]]
    ) -> list[list[dict[str, Any]]]:
        return await self._call("documents", release, wanted)

    async def codes_of(self, release: str, ids: Sequence[str]) -> dict[str, bytes]:
        return await self._call("codes_of", release, ids)

    async def example(self, release: str) -> str | None:
        return await self._call("example", release)

    async def ping(self, release: str) -> bool:
        return await self._call("ping", release)
