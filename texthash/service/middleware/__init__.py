"""ASGI middleware of the service, one concern per module, in the order of :func:`stack`."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from texthash.service import tracing
from texthash.service.middleware.admission import Admission
from texthash.service.middleware.auth import Auth
from texthash.service.middleware.body import WholeBody
from texthash.service.middleware.deadline import Deadline
from texthash.service.middleware.failures import Failures
from texthash.service.middleware.gate import Gate
from texthash.service.middleware.head import Head
from texthash.service.middleware.headers import SecurityHeaders
from texthash.service.middleware.origin import Origins
from texthash.service.middleware.pace import Pace
from texthash.service.middleware.request_log import RequestLog
from texthash.service.middleware.response_budget import ResponseBudget
from texthash.service.middleware.trace import Trace


def stack(gate: Gate, cors_origins: Sequence[str] = ()) -> list[Middleware]:
    """Return the middleware of the service, outermost first.

    Args:
        gate: What is allowed, and the counts of requests.
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
        Middleware(Pace, turns=gate.turns),
        Middleware(SecurityHeaders),
        *([cors] if cors_origins else []),  # outside of what rejects requests, so that a page can read the reason
        Middleware(RequestLog, recorder=gate.recorder),
        *([Middleware(Trace)] if tracing.is_on() else []),
        Middleware(ResponseBudget, budget=gate.budget),
        Middleware(Head),
        Middleware(Failures),
        Middleware(Origins, hosts=gate.hosts, origins=cors_origins),
        Middleware(Auth, keys=gate.keys),
        Middleware(Admission, capacity=gate.capacity),
        Middleware(Deadline, seconds=gate.limits.request_timeout_s),
        Middleware(WholeBody, most=gate.limits.max_body_bytes, budget=gate.budget),
    ]
