"""ASGI middleware of the service, one concern per module, in the order of :func:`stack`."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from texthash.config import LimitsConfig
from texthash.service import tracing
from texthash.service.memory_budget import MemoryBudget
from texthash.service.middleware.admission import Admission
from texthash.service.middleware.auth import Auth, Keys
from texthash.service.middleware.body import WholeBody
from texthash.service.middleware.deadline import Deadline
from texthash.service.middleware.failures import Failures
from texthash.service.middleware.head import Head
from texthash.service.middleware.headers import SecurityHeaders
from texthash.service.middleware.origin import Origins
from texthash.service.middleware.pace import Pace
from texthash.service.middleware.request_log import RequestLog
from texthash.service.middleware.response_budget import ResponseBudget
from texthash.service.middleware.trace import Trace


def stack(
    limits: LimitsConfig,
    budget: MemoryBudget,
    *,
    keys: Keys,
    hosts: frozenset[str] | None = None,
    cors_origins: Sequence[str] = (),
) -> list[Middleware]:
    """Return the middleware of the service, outermost first.

    Args:
        limits: Limits of the service.
        budget: Memory budget of bodies and answers.
        keys: Keys of the service; without one it is open.
        hosts: Allowed host names; None allows any.
        cors_origins: Origins whose pages may call the service, besides its own.
    """
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(cors_origins),
        allow_methods=["GET", "POST", "PUT"],
        allow_headers=["authorization", "content-type", "x-request-id"],
        expose_headers=["server-timing", "retry-after", "x-request-id"],
    )
    return [
        Middleware(Pace),
        Middleware(SecurityHeaders),
        *([cors] if cors_origins else []),  # outside of what rejects requests, so that a page can read the reason
        Middleware(RequestLog),
        *([Middleware(Trace)] if tracing.is_on() else []),
        Middleware(ResponseBudget, budget=budget),
        Middleware(Head),
        Middleware(Failures),
        Middleware(Origins, hosts=hosts, origins=cors_origins),
        Middleware(Auth, keys=keys),
        Middleware(Admission, limits=limits, budget=budget),
        Middleware(Deadline, seconds=limits.request_timeout_s),
        Middleware(WholeBody, most=limits.max_body_bytes, budget=budget),
    ]
