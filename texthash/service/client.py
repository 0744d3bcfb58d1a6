"""A client of the service: typed answers, and another try when the server is busy or a shard is being restarted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal

import httpx

from texthash.errors import TexthashError
from texthash.service.schemas import EncodeReply, Health, Info, ProblemBody, SearchReply

_RETRIED = (429, 503)
_LONGEST_WAIT_S = 10.0


class ServiceError(TexthashError):
    """The service answered with a problem.

    Attributes:
        problem_body: The problem as it was sent.
        status: Its HTTP status.
    """

    def __init__(self, body: ProblemBody) -> None:
        super().__init__(f"{body.title}: {body.detail}", f"see {body.type} of the server (request {body.request_id}).")
        self.problem_body = body
        self.status = body.status


class Client:
    """Talks to one service. Use it in a ``with`` statement, or call :meth:`close`.

    Args:
        url: Of the service, with its route prefix if it has one.
        timeout_s: Of one attempt.
        retries: Further attempts after an answer 429 or 503 or a broken connection; each waits what the server asks
            for, else twice as long as the one before.
        transport: Of httpx, for tests.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        timeout_s: float = 30.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._retries = retries
        self._http = httpx.Client(base_url=url.rstrip("/") + "/", timeout=timeout_s, transport=transport)

    def search(
        self,
        queries: str | Sequence[str | dict[str, str]],
        *,
        limit: int = 10,
        offset: int = 0,
        radius: int | None = None,
        labels: Sequence[str] | None = None,
        fields: Sequence[Literal["title", "text", "labels"]] = ("title",),
        include_code: bool = False,
    ) -> SearchReply:
        """Search.

        Args:
            queries: One text, or a list of texts and of ``{"text": ...}``, ``{"code": ...}``, ``{"id": ...}``.
            limit: Hits per query.
            offset: Hits to leave out first.
            radius: Only documents at most so many bits away.
            labels: Only documents with one of these labels.
            fields: Parts of the documents to return.
            include_code: Return the codes of the hits.

        Raises:
            ServiceError: the service refused, or was still busy after all attempts.
            TexthashError: no service answers there.
        """
        listed = [queries] if isinstance(queries, str) else list(queries)
        body = {
            "queries": [{"text": query} if isinstance(query, str) else query for query in listed],
            "limit": limit,
            "offset": offset,
            "radius": radius,
            "filter": {"labels": list(labels)} if labels is not None else None,
            "fields": list(fields),
            "include_code": include_code,
        }
        return SearchReply.model_validate_json(self._request("POST", "v1/search", body).content)

    def encode(
        self,
        inputs: str | Sequence[str],
        *,
        role: Literal["document", "query"] = "document",
        format: Literal["hex", "base64", "bits"] = "hex",
        return_logits: bool = False,
    ) -> EncodeReply:
        """Codes of texts. Errors as :meth:`search`."""
        texts = inputs if isinstance(inputs, str) else list(inputs)
        body = {"inputs": texts, "role": role, "format": format, "return_logits": return_logits}
        return EncodeReply.model_validate_json(self._request("POST", "v1/encode", body).content)

    def info(self) -> Info:
        """What is served, and within which limits."""
        return Info.model_validate_json(self._request("GET", "v1/info").content)

    def ready(self) -> Health:
        """State of the service; does not raise when it is not ready."""
        return Health.model_validate_json(self._send("GET", "health/ready", None).content)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        attempt = 0
        while True:
            wait, last = 0.1 * 2**attempt, attempt == self._retries
            try:
                reply = self._send(method, path, body)
            except TexthashError:
                if last:
                    raise
            else:
                if reply.is_success:
                    return reply
                if last or reply.status_code not in _RETRIED:
                    raise _error(reply)
                asked = reply.headers.get("retry-after", "")
                wait = float(asked) if asked.isdigit() else wait
            time.sleep(min(wait, _LONGEST_WAIT_S))
            attempt += 1

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        try:
            return self._http.request(method, path, json=body)
        except httpx.TransportError as error:
            raise TexthashError(
                f"no service answers at {self._http.base_url}: {error!r}", "start one, or name its URL."
            ) from error


def _error(reply: httpx.Response) -> TexthashError:
    if reply.headers.get("content-type", "").startswith("application/problem+json"):
        return ServiceError(ProblemBody.model_validate_json(reply.content))
    return TexthashError(
        f"{reply.request.url} answered {reply.status_code}: {reply.text[:200]}",
        "check that this is a texthash service.",
    )
