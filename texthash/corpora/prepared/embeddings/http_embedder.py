"""Vectors of texts by an embedder behind HTTP, of the form of OpenAI or of Text Embeddings Inference.

    openai:MODEL@http://host/v1          POST /v1/embeddings {"model": MODEL, "input": [...]}
    http://host/v1/embeddings            the same without a model, for servers of one
    tei:http://host:8080                 POST /embed {"inputs": [...], "truncate": true}

A key is sent as ``Authorization: Bearer``. It is the value of an environment variable whose *name* ends the source:
``openai:text-embedding-3-small@https://api.openai.com/v1#OPENAI_API_KEY``. The name is recorded, the key never.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.embeddings.checks import flaw_of
from texthash.errors import TexthashError, UsageError

OPENAI, TEI, PLAIN = "openai:", "tei:", ("http://", "https://")
_BATCH = 32
_ATTEMPTS = 6
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 8.0
_TIMEOUT_S = 30.0
_AGAIN = (408, 429, 500, 502, 503, 504)
_SHOWN = 200
_MOST_BYTES = 64_000_000  # of an answer: 32 vectors take less than one
_KEY = re.compile(r"[\x21-\x7e]+")
# Capitals alone: a key that was written in its place is not taken for a name.
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_FORMS = "openai:MODEL@URL, tei:URL or http://host/v1/embeddings, with #VARIABLE for the name of the key's variable"


class EmbedderError(TexthashError):
    """The embedder behind HTTP does not answer, or not with vectors."""


def is_http(name: str) -> bool:
    """Return whether a source is an embedder behind HTTP."""
    return name.startswith((OPENAI, TEI, *PLAIN))


@dataclass(frozen=True)
class Address:
    """Where and how to ask.

    Attributes:
        url: URL of the requests.
        tei: Whether they have the form of Text Embeddings Inference.
        model: Name of the model; empty for a server of one.
        variable: Name of the environment variable of the key; empty without a key.
    """

    url: str
    tei: bool = False
    model: str = ""
    variable: str = ""

    @classmethod
    def parse(cls, name: str) -> Address:
        """Read the name of a source.

        Raises:
            UsageError: It has no URL of http or https, a user or a query in it, or a fragment that names no variable.
        """
        import httpx

        plain, hash_, variable = name.partition("#")
        tei = plain.startswith(TEI)
        model, address = "", plain.removeprefix(TEI).rstrip("/")
        if plain.startswith(OPENAI):
            model, _, rest = plain.removeprefix(OPENAI).partition("@http")
            address = f"http{rest}".rstrip("/")
        if hash_ and not _VARIABLE.fullmatch(variable):  # it may be the key itself, so it is not repeated
            raise UsageError(
                "corpus.features: what follows # is not the name of an environment variable in capitals.",
                "write the name of the variable that holds the key, never the key: #OPENAI_API_KEY.",
            )
        try:
            parsed = httpx.URL(address)
        except (httpx.InvalidURL, TypeError):
            parsed = httpx.URL("")
        if parsed.scheme not in ("http", "https") or not parsed.host or (plain.startswith(OPENAI) and not model):
            raise UsageError("corpus.features names no embedder behind HTTP.", f"write {_FORMS}.")
        if parsed.userinfo or parsed.query:
            raise UsageError(
                f"corpus.features: the URL of the embedder at {parsed.host} has a user or a query, which would be "
                "recorded.",
                "put the key into an environment variable, and its name behind #.",
            )
        path = "/embed" if tei else "/embeddings" if plain.startswith(OPENAI) else ""
        return cls(address if address.endswith(path or "/") else address + path, tei, model, variable)

    def body(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return the request for some texts."""
        if self.tei:
            return {"inputs": list(texts), "truncate": True}
        return {**({"model": self.model} if self.model else {}), "input": list(texts), "encoding_format": "float"}

    def headers(self) -> dict[str, str]:
        """Return the header with the key.

        Raises:
            UsageError: The variable is not set, or holds what cannot be sent.
        """
        if not self.variable:
            return {}
        key = os.environ.get(self.variable)
        if not key:
            raise UsageError(
                f"the environment has no {self.variable}, which holds the key of the embedder at {self.url}.",
                f"export {self.variable}=..., also where the service runs.",
            )
        if not _KEY.fullmatch(key):
            raise UsageError(
                f"{self.variable} holds no key: it has characters that no header can have.",
                "give it the key alone, without a line break or blanks.",
            )
        return {"Authorization": f"Bearer {key}"}

    def rows(self, body: Any) -> list[Any]:
        """Return the vectors of an answer, in the order of the texts; raises ValueError for another form."""
        if self.tei:
            return list(body)
        rows = body["data"]
        indices = [row.get("index", place) for place, row in enumerate(rows)]
        if sorted(indices) != list(range(len(rows))):
            raise ValueError("the members index do not number the vectors")
        return [row["embedding"] for _, row in sorted(zip(indices, rows, strict=True), key=lambda pair: pair[0])]


class HttpEmbedder:
    """Texts to vectors by requests; busy and failing servers are asked again, at growing intervals.

    Args:
        name: Name of the source.
        timeout_s: Seconds that a request may take.
        attempts: Times that a request is sent at most.
    """

    def __init__(self, name: str, timeout_s: float = _TIMEOUT_S, attempts: int = _ATTEMPTS) -> None:
        import httpx

        self._address = Address.parse(name)
        self._attempts = attempts
        self._timeout_s = timeout_s
        self._http = httpx.Client(timeout=timeout_s, headers=self._address.headers())
        self._width: int | None = None

    @cached_property
    def width(self) -> int:
        """Width of the vectors, found by asking for one."""
        return self._asked(["width"]).shape[1] if self._width is None else self._width

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of texts, float32 [N, D]; a blank text, which embedders refuse, has a vector of zeros.

        Raises:
            EmbedderError: The embedder does not answer after all attempts, refuses, or gives another number of vectors
                than texts, vectors of several widths, or one that is not finite or zero.
        """
        filled = [row for row, text in enumerate(texts) if text.strip()]
        parts = [
            self._asked([texts[row] for row in filled[start : start + _BATCH]])
            for start in range(0, len(filled), _BATCH)
        ]
        vectors = np.zeros((len(texts), parts[0].shape[1] if parts else self.width), np.float32)
        if parts:
            vectors[filled] = np.concatenate(parts)
        return vectors

    def _asked(self, texts: Sequence[str]) -> NDArray[np.float32]:
        body = self._answer(texts)
        try:
            rows = self._address.rows(body)
            vectors = np.asarray(rows, np.float32) if rows else np.empty((0, 0), np.float32)
            if vectors.ndim != 2:
                raise ValueError("no list of vectors of one width")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._error(f"gave no vectors: {error}", "name an embedder of the form of OpenAI or TEI.") from None
        if len(vectors) != len(texts):
            raise self._error(f"gave {len(vectors)} vectors for {len(texts)} texts", "look into its log.")
        if self._width is None:
            self._width = vectors.shape[1]
        if vectors.shape[1] != self._width:
            raise self._error(
                f"gave vectors of {vectors.shape[1]} numbers, and of {self._width} before",
                "serve the model that it had before.",
            )
        if flaw := flaw_of(vectors):
            raise self._error(f"gave a vector that {flaw[1]}", "look into its log.")
        return vectors

    def _answer(self, texts: Sequence[str]) -> Any:
        import httpx

        wait, why = _FIRST_WAIT_S, ""
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_S)
            try:
                ends = time.monotonic() + self._timeout_s
                with self._http.stream("POST", self._address.url, json=self._address.body(texts)) as reply:
                    content = self._content(reply.iter_bytes(), ends)
            except httpx.TransportError as error:  # time-outs, refused and broken connections
                why = type(error).__name__
                continue
            if reply.status_code in _AGAIN:
                why = f"status {reply.status_code}"
                wait = max(wait, min(_seconds(reply.headers.get("retry-after")), _LONGEST_WAIT_S))
                continue
            if reply.status_code >= 400:
                raise self._error(
                    f"answered {reply.status_code}: {self._without_key(content.decode(errors='replace'))}",
                    "check the URL, the model and the key.",
                )
            try:
                return json.loads(content)
            except ValueError:
                raise self._error("gave no JSON", "check the URL.") from None
        raise self._error(f"did not answer in {self._attempts} attempts ({why})", "start it, or try again later.")

    def _content(self, blocks: Iterable[bytes], ends: float) -> bytes:
        """Return a body, of which httpx limits the time between two blocks, and not the time of all."""
        import httpx

        content = bytearray()
        for block in blocks:
            content += block
            if time.monotonic() > ends:
                raise httpx.ReadTimeout(f"the answer was not complete after {self._timeout_s:g} s")
            if len(content) > _MOST_BYTES:
                raise self._error(f"gave more than {_MOST_BYTES:,} bytes", "check the URL.")
        return bytes(content)

    def _error(self, what: str, remedy: str) -> EmbedderError:
        return EmbedderError(f"the embedder at {self._address.url} {what}.", remedy)

    def _without_key(self, text: str) -> str:
        """Return the beginning of an answer, which some servers make of the request's key."""
        key = os.environ.get(self._address.variable) if self._address.variable else None
        return (text.replace(key, "***") if key else text)[:_SHOWN]


def _seconds(header: str | None) -> float:
    try:
        return max(0.0, float(header or 0))
    except ValueError:  # a date
        return 0.0
