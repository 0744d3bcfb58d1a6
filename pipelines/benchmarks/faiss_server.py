"""Baseline of the service: one process of FastAPI with the same model and faiss over all codes.

OMP_NUM_THREADS=1 python -m benchmarks.faiss_server HOME RELEASE PORT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from texthash.index.releases.release import open_release
from texthash.paths import StateDir


class Search(BaseModel):
    """Members of a search request that the load uses."""

    queries: list[dict[str, str]]
    limit: int
    fields: list[str]


def make_app(home: StateDir, release: str) -> FastAPI:
    """Return the application, with all documents in memory in the order of their numbers."""
    opened = open_release(home, release)
    documents: list[tuple[int, dict[str, Any]]] = []
    for shard in opened.shards:
        documents += zip(shard.numbers, shard.documents(shard.numbers, ["title", "code"]), strict=True)
    documents.sort(key=lambda row: row[0])
    codes = np.frombuffer(b"".join(document["code"] for _, document in documents), np.uint8)
    index = faiss.IndexBinaryFlat(opened.release.bits)
    index.add(codes.reshape(len(documents), -1))
    ids = [document["id"] for _, document in documents]
    titles = [document["title"] for _, document in documents]
    app = FastAPI()

    @app.post("/v1/search")
    def search(request: Search) -> dict[str, Any]:
        encoded = opened.hasher.encode([query["text"] for query in request.queries], role="query")
        distances, rows = index.search(encoded, request.limit)
        results = [
            [
                {"id": ids[row], "distance": int(distance), "document": {"title": titles[row]}}
                for distance, row in zip(near, found, strict=True)
            ]
            for near, found in zip(distances.tolist(), rows.tolist(), strict=True)
        ]
        return {"results": [{"hits": hits} for hits in results]}

    return app


if __name__ == "__main__":
    torch.set_num_threads(1)
    place, name, port = sys.argv[1:]
    uvicorn.run(make_app(StateDir(Path(place)), name), host="127.0.0.1", port=int(port), log_level="warning")
