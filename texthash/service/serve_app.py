"""The Serve application: ingress (batches requests that arrive together) -> encoder -> a deployment per shard -> merge;
and a writer, through which the index is changed.

``texthash.service.serve_app:build`` is the import path for ``serve deploy``; :func:`texthash.service.run.serve_release`
starts the same application from a program. An application that was built for ``current`` follows the pointer: it
answers from whatever is current, as soon as encoder and shards have opened it. One that was built for a release by name
stays with it, and has no writer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ReplicaState

from texthash.config import Section, ServiceConfig
from texthash.errors import UsageError
from texthash.index.releases.release import CURRENT, read_release
from texthash.index.shard import StoredCode
from texthash.paths import resolve_home
from texthash.service.batching import MOST_REQUESTS, RequestBatcher
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.logs import LOGGING, flush_log, log_with_serve
from texthash.service.memory_budget import MemoryBudget
from texthash.service.middleware.auth import Keys
from texthash.service.problems import Problem
from texthash.service.release_watcher import ReleaseWatcher, wait_for_propagation
from texthash.service.replicas.encoder import Encoded, EncoderServer, Texts
from texthash.service.replicas.shard import QueryGroup, ShardResult, ShardServer
from texthash.service.replicas.writer import Write, WriteAck, WriterServer
from texthash.service.rpc import Calls

# How long a call waits for a deployment without a living replica before it is answered 503.
_PATIENCE_S = 3.0
_RETRY_AFTER_S = "2"
# What one part may answer another over gRPC, which the fast form uses; Serve's own bound of 4 MB is less than a page of
# long documents. What a request may ask for is bounded by its limits.
_MESSAGES = {"RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(2**31 - 1)}
# Serve's own choice, cloudpickle, takes several times as long over small messages; it is for what no module defines.
_PICKLED: dict[str, Any] = {"request_serialization": "pickle", "response_serialization": "pickle"}
# A dead replica is noticed soon, and one that is replaced goes on until its successor has opened its release.
_LIFE = {"health_check_period_s": 2.0, "health_check_timeout_s": 10.0, "max_surge_percent": 100}


class ServeArgs(Section):
    """Arguments of :func:`build`."""

    home: str | None = Field(None, description="state directory; null: TEXTHASH_HOME of the cluster")
    release: str = Field(CURRENT, description="name of a release, or current")
    service: ServiceConfig = Field(default_factory=lambda: ServiceConfig.model_validate({"limits": {}}))
    address: str | None = Field(
        None, description="URL told to those who want to write; null: host, port and route_prefix of service"
    )
    cpus: float = Field(0.1, gt=0, description="CPUs that each replica claims")
    encoder_threads: int = Field(1, ge=1, description="threads of one pass through the model")


def build(args: dict[str, Any]) -> serve.Application:
    """Make the Serve application of a release.

    Args:
        args: As :class:`ServeArgs`.

    Raises:
        UsageError: an argument that does not exist, a value out of range, or a variable of a key that has none.
        TexthashError: nothing is released there, or the release is broken.
        ModelMismatchError: its model and its index do not belong together.
    """
    try:
        parsed = ServeArgs.model_validate(args)
    except ValidationError as error:
        raise UsageError(f"the arguments of the service are wrong: {error}", "see deploy/serve.yaml.") from None
    Keys.of_environment()  # what is no key is an error here, not in the log of a replica
    home = resolve_home(parsed.home)
    release = read_release(home, parsed.release)
    release.check(home)
    limits = parsed.service.limits
    common: dict[str, Any] = {
        "ray_actor_options": {"num_cpus": parsed.cpus, "runtime_env": {"env_vars": _MESSAGES}},
        "max_ongoing_requests": limits.max_ongoing_requests,
        "max_queued_requests": limits.max_queued_requests,
        "logging_config": LOGGING,
        **_LIFE,
    }
    follows = parsed.release == CURRENT
    place = (str(home.root), CURRENT if follows else release.name)
    service = parsed.service
    encoder = serve.deployment(name="encoder", **common, num_replicas=service.encoder_replicas)(_Encoder).bind(
        *place, parsed.encoder_threads
    )
    shards = [
        serve.deployment(name=f"shard-{number}", **common, num_replicas=service.shard_replicas)(_Shard).bind(
            *place, number, len(release.shards)
        )
        for number in range(len(release.shards))
    ]
    # One replica, and none beside it while it is replaced: an index has one writer.
    alone = {**common, "max_surge_percent": 0}
    writer = (
        serve.deployment(name="writer", **alone)(_Writer).bind(
            str(home.root), parsed.address or service.url, limits.min_free_bytes
        )
        if follows
        else None
    )
    # The admission of the ingress answers 429 when it is full; Serve's own bound lies a little higher, so that it can.
    room = limits.max_ongoing_requests + limits.max_queued_requests + MOST_REQUESTS
    ingress = serve.deployment(
        name="ingress", **{**common, "max_ongoing_requests": room}, num_replicas=service.ingress_replicas
    )(serve.ingress()(_Ingress))
    return ingress.bind(service.model_dump(), *place, writer, encoder, *shards)


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


class _Writer(WriterServer):
    """The writer; writes that are waiting are made durable together."""

    def __init__(self, home: str, address: str, least_free: int) -> None:
        log_with_serve()
        super().__init__(home, address, least_free)

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.0)
    async def write(self, writes: list[Write]) -> list[WriteAck | Problem]:
        """One write, to the caller."""
        return await self.write_many(writes)

    async def check_health(self) -> None:
        """Called by Serve every few seconds."""
        await self.let_go()


class _Ingress:
    """The HTTP application, in front of the encoder, the shards and the writer."""

    def __init__(
        self,
        service: dict[str, Any],
        home: str,
        release: str,
        writer: DeploymentHandle | None,
        encoder: DeploymentHandle,
        *shards: DeploymentHandle,
    ) -> None:
        log_with_serve()
        config = ServiceConfig.model_validate(service)
        place = resolve_home(home)
        remotes = [_RemoteShard(handle, number) for number, handle in enumerate(shards)]
        self._config = config
        self._gateway = Coordinator(read_release(place, release), config.limits, _RemoteEncoder(encoder), remotes)
        self._follower = ReleaseWatcher(place, self._gateway, config.max_lag_s) if writer is not None else None
        self._editor = None
        if writer is not None:
            settle = wait_for_propagation if config.ingress_replicas > 1 else None
            self._editor = IndexWriteService(place, self._gateway, _RemoteWriter(writer), settle)
        self._ledger = MemoryBudget(config.limits.max_pending_bytes)
        self._passes = RequestBatcher(self._gateway, self._ledger, config.batch_wait_ms / 1000)

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = make_app(self._gateway, self._passes.answer, self._editor, self._follower, self._config, self._ledger)
        self._calls = Calls(app)
        return app

    async def Encode(self, request: Any, grpc_context: Any) -> Any:
        """A call over gRPC; Serve finds it by name, and the context by the name of its parameter."""
        return await self._calls.answer("Encode", request, grpc_context)

    async def Search(self, request: Any, grpc_context: Any) -> Any:
        """A call over gRPC."""
        return await self._calls.answer("Search", request, grpc_context)

    async def check_health(self) -> None:
        """Called by Serve every few seconds: fails where this ingress has stopped to follow the pointer."""
        self._gateway.tell()
        if self._follower is not None:
            self._follower.report()
        if self._editor is not None:
            await asyncio.to_thread(self._editor.report)
        flush_log()


class _Remote:
    """Calls to one deployment: again after the death of a replica, a problem when it stays away."""

    def __init__(self, handle: DeploymentHandle, away: Callable[[], Problem]) -> None:
        self._handle = handle
        self._away = away
        self._methods: dict[str, Any] = {}

    async def _call(self, method: str, *args: Any) -> Any:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _PATIENCE_S
        while True:
            try:
                return await self._attempt(self._method(method), args)
            except (RayActorError, DeploymentUnavailableError, BackPressureError):
                # Reading twice does no harm, nor does putting in or taking out the same documents twice.
                if loop.time() >= give_up:
                    raise self._away() from None
                await asyncio.sleep(0.1)

    def _method(self, name: str) -> Any:
        """A method of the deployment, made once: a handle makes another at each look."""
        if name not in self._methods:
            self._methods[name] = self._handle.options(method_name=name, **_PICKLED)
        return self._methods[name]

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


class _RemoteWriter(_Remote):
    def __init__(self, handle: DeploymentHandle) -> None:
        super().__init__(
            handle,
            lambda: Problem(
                "writer-unavailable",
                "the writer of the index is being restarted.",
                headers={"Retry-After": _RETRY_AFTER_S},
            ),
        )

    async def write(self, write: Write) -> WriteAck:
        done: WriteAck | Problem = await self._call("write", write)
        if isinstance(done, Problem):
            raise done
        return done


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

    async def search(self, release: str, groups: Sequence[QueryGroup]) -> list[ShardResult]:
        return await self._call("search", release, groups)

    async def documents(
        self, release: str, wanted: Sequence[tuple[list[int], tuple[str, ...]]]
    ) -> list[list[dict[str, Any]]]:
        return await self._call("documents", release, wanted)

    async def codes_of(self, release: str, ids: Sequence[str]) -> dict[str, StoredCode]:
        return await self._call("codes_of", release, ids)

    async def vectors_of(self, release: str, ids: Sequence[str]) -> dict[str, NDArray[np.float16]]:
        return await self._call("vectors_of", release, ids)

    async def document(self, release: str, document_id: str) -> dict[str, Any] | None:
        return await self._call("document", release, document_id)

    async def count(self, release: str, labels: tuple[str, ...] | None) -> int:
        return await self._call("count", release, labels)

    async def example(self, release: str) -> str | None:
        return await self._call("example", release)

    async def ping(self, release: str) -> bool:
        return await self._call("ping", release)
