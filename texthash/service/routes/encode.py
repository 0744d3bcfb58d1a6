"""Route ``POST /v1/encode``."""

from __future__ import annotations

import base64
import time
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI
from pydantic_core import to_json
from starlette.responses import Response

from texthash.api.answers import EncodeReply
from texthash.api.requests import EncodeRequest
from texthash.hamming.codes import to_bitstring, to_hex
from texthash.index.releases.release import Release
from texthash.service.coordinator import Coordinator
from texthash.service.replicas.encoder import Encoded
from texthash.service.request_limits import Checks
from texthash.service.routes.answers import BODY_PROBLEMS, JSON, answers

_Encode = Annotated[
    EncodeRequest,
    Body(
        openapi_examples={
            "one": {"summary": "One text", "value": {"inputs": "parse a date from a string"}},
            "many": {
                "summary": "Several, as queries, with their activations",
                "value": {"inputs": ["sort a list", "open a socket"], "role": "query", "return_logits": True},
            },
            "base64": {"summary": "Codes in base64", "value": {"inputs": ["sort a list"], "format": "base64"}},
        }
    ),
]


def add_encode(app: FastAPI, coordinator: Coordinator, checks: Checks) -> None:
    """Add ``POST /v1/encode``."""

    @app.post(
        "/v1/encode",
        tags=["encode"],
        summary="Turn texts into codes",
        dependencies=[Depends(checks.body)],
        response_model=EncodeReply,
        responses=answers(*BODY_PROBLEMS, "encoder-unavailable", "vector-mismatch"),
    )
    async def encode_texts(request: _Encode) -> Response:
        """Encode texts into codes, packed most significant bit first.

        A text without a known word has the code of an empty text; `known_words` is false for it.
        """
        start = time.perf_counter()
        texts = [request.inputs] if isinstance(request.inputs, str) else request.inputs
        checks.batch(len(texts), "inputs")
        for position, text in enumerate(texts):
            checks.text(text, "body", "inputs", position)
        release, encoded = await coordinator.encode(texts, request.role, logits=request.return_logits)
        body = _reply(release, encoded, request.format)
        body["took_ms"] = round(1e3 * (time.perf_counter() - start), 3)
        return Response(to_json(body), media_type=JSON)


def _reply(release: Release, encoded: Encoded, format: str) -> dict[str, Any]:
    if format == "hex":
        codes = to_hex(encoded.codes)
    elif format == "bits":
        codes = to_bitstring(encoded.codes)
    else:
        codes = [base64.b64encode(row.tobytes()).decode() for row in encoded.codes]
    return {
        "codes": codes,
        "known_words": encoded.known.tolist(),
        "logits": encoded.logits.tolist() if encoded.logits is not None else None,
        "bits": release.bits,
        "bitorder": "big",
        "model": {"name": release.model, "version": release.model_version, "digest": release.model_digest},
        "release": release.name,
    }
