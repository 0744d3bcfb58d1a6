"""Serve application: ingress -> encoder -> shards -> merge; and a writer, which changes the index.

The ingress batches requests that arrive together. Encoder and shards are in the ingress, or deployments of their own
(:mod:`texthash.service.placement`).

``texthash.service.serve_app:build`` is the import path for ``serve deploy``; :func:`texthash.service.run.serve_release`
starts the same application from a program. An application that was built for ``current`` follows the pointer: it
answers from the current release as soon as encoder and shards have opened it. One that was built for a named release
stays with it, and has no writer.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI
from pydantic import Field
from ray import serve
from ray.serve.handle import DeploymentHandle

from texthash.config import AutoscalingConfig, Section, ServiceConfig, parse_section
from texthash.index.releases.release import CURRENT, read_release
from texthash.paths import StateDir, resolve_home
from texthash.progress import log_line
from texthash.service import tracing
from texthash.service.batching import MOST_REQUESTS, REMOTE_PASSES, RequestBatcher
from texthash.service.coordinator import REMOTE_INLINE_HITS, Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.lean_imports import import_arrow, import_kernels
from texthash.service.logs import LOGGING, flush_log, log_with_serve
from texthash.service.memory_budget import MemoryBudget
from texthash.service.metrics import PlacementMetrics
from texthash.service.middleware.auth import Keys
from texthash.service.placement import LocalShard, placement_of
from texthash.service.problems import Problem
from texthash.service.release_watcher import ReleaseWatcher, wait_for_propagation
from texthash.service.remote import RemoteEncoder, RemoteShard, RemoteWriter
from texthash.service.replicas.encoder import Encoded, EncoderServer, LocalEncoder, Texts
from texthash.service.replicas.free_memory import spare_collector
from texthash.service.replicas.shard import ShardServer
from texthash.service.replicas.writer import Write, WriteAck, WriterServer
from texthash.service.reranking import Reranking
from texthash.service.rpc import Calls

# Maximum size of gRPC messages between deployments; Serve's default of 4 MB is less than a page of long documents. The
# limits of the service bound what a request returns.
_MESSAGES = {"RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(2**31 - 1)}
# A dead replica is noticed soon, and a replaced one continues until its successor has opened the release.
_LIFE = {"health_check_period_s": 2.0, "health_check_timeout_s": 10.0, "max_surge_percent": 100}


class ServeArgs(Section):
    """Arguments of :func:`build`."""

    home: str | None = Field(None, description="state directory; null: TEXTHASH_HOME of the cluster")
    release: str = Field(CURRENT, description="name of a release, or current")
    service: ServiceConfig = Field(default_factory=lambda: ServiceConfig.model_validate({"limits": {}}))
    address: str | None = Field(
        None, description="URL under which other programs write; null: host, port and route_prefix of service"
    )
    cpus: float = Field(0.1, gt=0, description="CPUs that each replica claims")
    encoder_threads: int = Field(1, ge=1, description="threads of one pass through the model")


def build(args: dict[str, Any]) -> serve.Application:
    """Build the Serve application of a release.

    Args:
        args: Members of :class:`ServeArgs`.

    Raises:
        UsageError: An argument is unknown, a value is out of range, or a key in the environment is invalid.
        TexthashError: No release exists in the state directory, or the release is damaged.
        ModelMismatchError: The model and the index of the release do not belong together.
    """
    parsed = parse_section(ServeArgs, args, "the arguments of the service")
    Keys.of_environment()  # An invalid key is an error here, instead of one in the log of a replica.
    home = resolve_home(parsed.home)
    release = read_release(home, parsed.release)
    release.check(home)
    _reranking(parsed.service, home)  # A wrong model is an error here, instead of one in the log of a replica.
    limits = parsed.service.limits
    variables = {**_MESSAGES, **({tracing.VARIABLE: "1"} if parsed.service.tracing else {})}
    common: dict[str, Any] = {
        "ray_actor_options": {"num_cpus": parsed.cpus, "runtime_env": {"env_vars": variables}},
        "max_ongoing_requests": limits.max_ongoing_requests,
        "max_queued_requests": limits.max_queued_requests,
        "logging_config": LOGGING,
        **_LIFE,
    }
    follows = parsed.release == CURRENT
    opened = (home.name, CURRENT if follows else release.name)
    service = parsed.service
    placement = placement_of(home, release, service)
    log_line(f"service: {placement.reason}")
    encoder = (
        None
        if placement.encoder
        else serve.deployment(
            name="encoder", **common, **_scale(service, service.encoder_replicas, service.encoder_autoscaling)
        )(_Encoder).bind(*opened, parsed.encoder_threads)
    )
    remote_shards = range(0 if placement.shards else len(release.shards))
    shards = [
        serve.deployment(name=f"shard-{number}", **common, **_scale(service, service.shard_replicas))(_Shard).bind(
            *opened, number, len(release.shards), service.document_copies_bytes, service.mapped_files_bytes
        )
        for number in remote_shards
    ]
    # One replica, and no second one during a replacement: an index has one writer.
    single = {**common, "max_surge_percent": 0}
    writer = (
        serve.deployment(name="writer", **single)(_Writer).bind(
            home.name, parsed.address or service.url, limits.min_free_bytes
        )
        if follows
        else None
    )
    # The ingress itself answers 429 when it is full; Serve's bound is a little higher, so that requests reach it.
    capacity = limits.max_ongoing_requests + limits.max_queued_requests + MOST_REQUESTS
    ingress = serve.deployment(
        name="ingress",
        **{**common, "max_ongoing_requests": capacity},
        **_scale(service, service.ingress_replicas, service.ingress_autoscaling),
    )(serve.ingress()(_Ingress))
    return ingress.bind(service.model_dump(), *opened, parsed.encoder_threads, writer, encoder, *shards)


def _reranking(service: ServiceConfig, home: StateDir) -> Reranking | None:
    if service.rerank is None:
        return None
    return Reranking.open(service.rerank, home)


def _scale(service: ServiceConfig, replicas: int, bounds: AutoscalingConfig | None = None) -> dict[str, Any]:
    """Return the options of a deployment that say how many replicas it has, and how many of them on a node."""
    number = {"num_replicas": replicas} if bounds is None else {"autoscaling_config": bounds.model_dump()}
    most = service.max_replicas_per_node
    return number if most is None else {**number, "max_replicas_per_node": most}


class _Encoder(tracing.Traced, EncoderServer):
    """Deployment of the encoder; waiting calls are encoded together."""

    def __init__(self, home: str, release: str, threads: int) -> None:
        import_arrow()
        tracing.start()
        super().__init__(home, release, threads)

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=0.0)
    async def encode(self, calls: list[Texts]) -> list[Encoded | Problem]:
        """Encode the texts of one call."""
        return await self.encode_many(calls)

    async def check_health(self) -> None:
        """Fail if the model does not encode; called by Serve."""
        await self.self_test()


class _Shard(tracing.Traced, ShardServer):
    """Deployment of one shard."""

    def __init__(self, home: str, release: str, number: int, shards: int, copies_bytes: int, mapped_bytes: int) -> None:
        import_arrow()
        import_kernels()
        tracing.start()
        super().__init__(home, release, number, shards, copies_bytes, mapped_bytes)

    async def check_health(self) -> None:
        """Fail if the shard does not search; called by Serve."""
        await self.self_test()


class _Writer(tracing.Traced, WriterServer):
    """Deployment of the writer; waiting writes are made durable together."""

    def __init__(self, home: str, address: str, least_free: int) -> None:
        log_with_serve()
        import_arrow()
        tracing.start()
        super().__init__(home, address, least_free)

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.0)
    async def write(self, writes: list[Write]) -> list[WriteAck | Problem]:
        """Make one write durable."""
        return await self.write_many(writes)

    async def check_health(self) -> None:
        """Close a writer whose index is no longer current; called by Serve every few seconds."""
        await self.close_outdated_writer()


class _Ingress:
    """Deployment of the HTTP application, which calls the encoder, the shards and the writer.

    Without a handle of the encoder, or of shards, it opens these itself.
    """

    def __init__(
        self,
        service: dict[str, Any],
        home: str,
        release: str,
        encoder_threads: int,
        writer: DeploymentHandle | None,
        encoder: DeploymentHandle | None,
        *shards: DeploymentHandle,
    ) -> None:
        log_with_serve()
        import_arrow()
        if not shards:
            import_kernels()
        tracing.start()
        config = ServiceConfig.model_validate(service)
        state = resolve_home(home)
        served = read_release(state, release)
        self._encoder = LocalEncoder(home, served.name, encoder_threads) if encoder is None else RemoteEncoder(encoder)
        self._shards: list[LocalShard] | list[RemoteShard] = (
            [RemoteShard(handle, number) for number, handle in enumerate(shards)]
            if shards
            else [
                LocalShard(
                    home,
                    served.name,
                    number,
                    config.local_memory_bytes,
                    copies_bytes=config.document_copies_bytes,
                    mapped_bytes=config.mapped_files_bytes,
                )
                for number in range(len(served.shards))
            ]
        )
        self._config = config
        inline = REMOTE_INLINE_HITS if shards else 0
        self._coordinator = Coordinator(served, config.limits, self._encoder, self._shards, inline)
        self._watcher = ReleaseWatcher(state, self._coordinator, config.max_lag_s) if writer is not None else None
        self._writes = None
        if writer is not None:
            settle = wait_for_propagation if config.most_ingresses > 1 else None
            self._writes = IndexWriteService(state, self._coordinator, RemoteWriter(writer), settle)
        self._reranking = _reranking(config, state)
        self._placement = PlacementMetrics()
        self._budget = MemoryBudget(config.limits.max_pending_bytes)
        self._batcher = RequestBatcher(self._coordinator, self._budget, REMOTE_PASSES if shards else 1)

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = make_app(
            self._coordinator,
            self._batcher.answer,
            self._writes,
            self._watcher,
            self._config,
            self._budget,
            reranking=self._reranking,
        )
        self._calls = Calls(app, self._config.limits.max_body_bytes)
        spare_collector()
        return app

    async def Encode(self, request: Any, grpc_context: Any) -> Any:
        """Answer an Encode call over gRPC; Serve finds method and context parameter by their names."""
        return await self._calls.answer("Encode", request, grpc_context)

    async def Search(self, request: Any, grpc_context: Any) -> Any:
        """Answer a Search call over gRPC."""
        return await self._calls.answer("Search", request, grpc_context)

    async def Facets(self, request: Any, grpc_context: Any) -> Any:
        """Answer a Facets call over gRPC."""
        return await self._calls.answer("Facets", request, grpc_context)

    async def Scroll(self, request: Any, grpc_context: Any) -> Any:
        """Answer a Scroll call over gRPC."""
        return await self._calls.answer("Scroll", request, grpc_context)

    async def check_health(self) -> None:
        """Fail if this ingress has stopped following the pointer, or if what it has opened does not work.

        Called by Serve every few seconds.
        """
        for part in (self._encoder, *self._shards):
            if isinstance(part, (LocalEncoder, LocalShard)):
                await part.self_test()
        self._coordinator.record_release()
        local = isinstance(self._encoder, LocalEncoder), isinstance(self._shards[0], LocalShard)
        self._placement.record(encoder=local[0], shards=local[1])
        if self._watcher is not None:
            self._watcher.report()
        if self._writes is not None:
            await asyncio.to_thread(self._writes.report)
        flush_log()
