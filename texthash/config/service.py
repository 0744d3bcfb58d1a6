"""Configuration of the service and its limits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    model_validator,
)

from texthash.config.section import VARIABLES, Section

_HOST_NAME = r"^(\*|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)$"
DOCUMENT_COPIES_BYTES = 20_000_000_000
MAPPED_FILES_BYTES = 20_000_000_000
_GRPC_PORT, _TRACING = "TEXTHASH_GRPC_PORT", "TEXTHASH_TRACING"


def limit_variable(limit: str) -> str:
    """Return the environment variable that sets a limit of the service."""
    return f"TEXTHASH_{limit.upper()}"


class LimitsConfig(Section):
    """Limits of the service. Each has an environment variable, TEXTHASH_<NAME>, and is listed by ``/v1/info``."""

    max_batch: int = Field(256, ge=1, description="largest number of texts or queries of a request")
    max_text_bytes: int = Field(65_536, ge=1, description="largest size of a text in UTF-8")
    max_body_bytes: int = Field(2_000_000, ge=1, description="largest size of the body of a request")
    max_limit: int = Field(
        1_000, ge=1, description="largest number of hits per query; limit + offset may be ten times as large"
    )
    max_hits: int = Field(25_600, ge=1, description="largest number of hits of a request: queries x (limit + offset)")
    max_oversample: int = Field(
        100, ge=1, le=100, description="largest oversample of rescore: limit x oversample documents are reordered"
    )
    request_timeout_s: float = Field(30.0, gt=0, description="time from the first byte of a request to its answer")
    max_ongoing_requests: int = Field(256, ge=1, description="largest number of requests that are processed at a time")
    max_queued_requests: int = Field(512, ge=1, description="largest number of waiting requests; beyond it, status 429")
    max_pending_bytes: int = Field(
        256_000_000, ge=1, description="largest size of bodies and answers in the memory of an ingress; beyond it, 429"
    )
    min_free_bytes: int = Field(
        256_000_000, ge=0, description="least free space on the disk of the index; below it, writes get status 507"
    )

    @model_validator(mode="before")
    @classmethod
    def _environment_before_defaults(cls, values: Any) -> Any:
        variables = {name: limit_variable(name) for name in cls.model_fields}
        found = {name: os.environ[variable] for name, variable in variables.items() if variable in os.environ}
        return {**found, **values} if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _one_body_has_room(self) -> LimitsConfig:
        if self.max_pending_bytes < self.max_body_bytes:
            raise ValueError(
                f"max_pending_bytes={self.max_pending_bytes} has no room for one body of "
                f"max_body_bytes={self.max_body_bytes}"
            )
        return self


class AutoscalingConfig(Section):
    """Bounds between which Ray Serve changes the number of replicas of a deployment by its load."""

    min_replicas: int = Field(1, ge=1, description="least number of replicas")
    max_replicas: int = Field(1, ge=1, description="largest number of replicas")
    target_ongoing_requests: float = Field(2.0, gt=0, description="requests at a time that a replica should have")
    upscale_delay_s: float = Field(30.0, ge=0, description="seconds of more load before replicas are added")
    downscale_delay_s: float = Field(600.0, ge=0, description="seconds of less load before replicas are removed")

    @model_validator(mode="after")
    def _most_is_not_below_least(self) -> AutoscalingConfig:
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas={self.max_replicas} is below min_replicas={self.min_replicas}")
        return self


class RerankConfig(Section):
    """Model that orders the first hits of a search again where a request has ``rerank``."""

    model: str = Field(
        min_length=1,
        description="folder of a saved model of a method that re-ranks, such as has, from the state directory on; or "
        "cross-encoder: and the folder or hub name of one",
    )
    candidates: int = Field(50, ge=1, le=1000, description="number of hits of a query that are ordered again")


class ServiceConfig(Section):
    """Addresses, replicas and limits of the service."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65_535)
    route_prefix: str = Field("/", pattern=r"^/([\w.~-]+(/[\w.~-]+)*)?$", description="path prefix of the API")
    grpc_port: int | None = Field(
        None, ge=1, le=65_535, description="port of gRPC, on all addresses; null: TEXTHASH_GRPC_PORT, or no gRPC"
    )
    max_lag_s: float = Field(
        30.0,
        gt=0,
        description="seconds that the served release may differ from the current one, or that the current one may be "
        "unknown, before /health/ready answers 503",
    )
    cors_origins: tuple[str, ...] = Field((), description="origins whose pages may call the service; none by default")
    allowed_hosts: tuple[Annotated[str, Field(pattern=_HOST_NAME)], ...] = Field(
        (),
        description="host names, without a port, that requests may use beside localhost, 127.0.0.1, [::1] and host. "
        "Empty: only these if the service listens on loopback without a key, otherwise any; *: any",
    )
    placement: Literal["auto", "local", "remote"] = Field(
        "auto",
        description="local: each ingress opens model and shards itself; remote: they are deployments of their own; "
        "auto: local where they fit into local_memory_bytes, otherwise only the model",
    )
    local_memory_bytes: int = Field(
        4_000_000_000, ge=1, description="memory of an ingress for the model and shards of a release and its successor"
    )
    document_copies_bytes: int = Field(
        DOCUMENT_COPIES_BYTES,
        ge=0,
        description="disk of a node for copies of the documents of an index in an object store, from which searches "
        "read them; a shard whose documents do not fit reads them from the store. 0: no copies",
    )
    mapped_files_bytes: int = Field(
        MAPPED_FILES_BYTES,
        ge=0,
        description="disk of a node for files from which its processes map codes, tables and words of shards, so that "
        "these take memory once; of a shard that does not fit, each process has its own. 0: no files",
    )
    batch_wait_ms: float = Field(
        0.0, ge=0, description="without effect: a pass takes the requests that waited while the one before it ran"
    )
    ingress_replicas: int = Field(1, ge=1, description="number of processes that answer requests")
    encoder_replicas: int = Field(1, ge=1, description="number of copies of a remote encoder")
    shard_replicas: int = Field(1, ge=1, description="number of copies of each remote shard, which share its searches")
    ingress_autoscaling: AutoscalingConfig | None = Field(
        None, description="bounds of the number of ingresses, in place of ingress_replicas; null: a fixed number"
    )
    encoder_autoscaling: AutoscalingConfig | None = Field(
        None, description="bounds of the number of remote encoders, in place of encoder_replicas; null: a fixed number"
    )
    max_replicas_per_node: int | None = Field(
        None,
        ge=1,
        le=100,
        description="largest number of replicas of one deployment on a node, so that the loss of a node leaves others; "
        "replicas without room wait for a node. null: any number",
    )
    rerank: RerankConfig | None = Field(None, description="model that re-ranks hits on request; null: none")
    tracing: bool = Field(
        False, description="spans of requests by OpenTelemetry, exported as its variables OTEL_* on each node say"
    )
    limits: LimitsConfig = Field(default_factory=LimitsConfig)  # A factory, because it reads the environment.

    @model_validator(mode="before")
    @classmethod
    def _environment_before_defaults(cls, values: Any) -> Any:
        given = {"grpc_port": os.environ.get(_GRPC_PORT), "tracing": os.environ.get(_TRACING)}
        found = {name: value for name, value in given.items() if value is not None}
        return {**found, **values} if isinstance(values, Mapping) else values

    @property
    def most_ingresses(self) -> int:
        """Largest number of ingresses at a time."""
        return self.ingress_replicas if self.ingress_autoscaling is None else self.ingress_autoscaling.max_replicas

    @property
    def url(self) -> str:
        """URL of the service for programs on this machine, without a slash at the end."""
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host
        return f"http://{host}:{self.port}{self.route_prefix.rstrip('/')}"


VARIABLES.update({"service.grpc_port": _GRPC_PORT, "service.tracing": _TRACING})
VARIABLES.update({f"service.limits.{name}": limit_variable(name) for name in LimitsConfig.model_fields})
