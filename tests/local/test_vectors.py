"""Vectors of any embedder in the front door: binarised, searched exactly, kept and loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import texthash
from tests.local.conftest import CITIES, LABELS, TEXTS
from texthash.errors import UsageError

RNG = np.random.default_rng(0)
CENTRES = {"sort": RNG.standard_normal(20), "file": RNG.standard_normal(20)}
VECTORS = np.array([CENTRES[label] + 0.3 * RNG.standard_normal(20) for label in LABELS])


@pytest.mark.parametrize("method", ["itq", "pcah", "lsh", "sign"])
def test_vectors_alone_are_binarised_and_searched(method: str, tmp_path: Path) -> None:
    model = texthash.train(method, vectors=VECTORS, bits=16)
    codes = np.unpackbits(model.encode_vectors(VECTORS), axis=1).astype(int)
    index = texthash.Index(model, vectors=VECTORS, labels=LABELS)
    found = index.search(vectors=VECTORS[:3], k=5)
    for row, result in enumerate(found):
        distances = (codes != codes[row]).sum(axis=1)
        expected = np.argsort(distances, kind="stable")[:5]
        assert result.ids == [str(number) for number in expected]
        np.testing.assert_array_equal(result.distances, distances[expected])
    again = texthash.Index.open(index.save(tmp_path / "index"))
    assert [result.ids for result in again.search(vectors=VECTORS[:3], k=5)] == [result.ids for result in found]
    loaded = texthash.load(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.encode_vectors(VECTORS), model.encode_vectors(VECTORS))


def test_texts_are_kept_beside_vectors(tmp_path: Path) -> None:
    model = texthash.train("itq", TEXTS, vectors=VECTORS, labels=LABELS, bits=16)
    assert model.method.hyperparameters["input"] == "features"
    index = texthash.Index(model, TEXTS, vectors=VECTORS)
    assert index.search(vectors=VECTORS[4:5], k=1)[0].texts == [TEXTS[4]]
    asked = {"vectors": VECTORS[-1:], "mode": "hybrid", "k": 1}
    assert index.search(f"file {CITIES[2]}", weight=0, **asked).texts == [f"open and read a file {CITIES[2]}"]
    near = index.search(vectors=VECTORS[-1:], k=1)[0]
    assert index.search(f"file {CITIES[2]}", weight=1, **asked).texts == near.texts
    both = texthash.train("itq", TEXTS, vectors=VECTORS, bits=16, params={"input": "both"})
    assert len(texthash.Index(both, TEXTS, vectors=VECTORS).search(vectors=VECTORS[:2])) == 2
    # Held-out rows keep their vectors: with more texts, a tenth of them chooses the epoch.
    many = texthash.train("pcah", TEXTS * 8, vectors=np.tile(VECTORS, (8, 1)), bits=8, labels=LABELS * 8)
    assert many.encode_vectors(VECTORS).shape == (2 * len(CITIES), 1)


def test_what_cannot_be_is_refused() -> None:
    model = texthash.train("itq", TEXTS, vectors=VECTORS, bits=16)
    index = texthash.Index(model, vectors=VECTORS)
    for call, message in (
        (lambda: texthash.train("itq"), "neither texts nor vectors"),
        (lambda: texthash.Index(model), "neither texts nor vectors"),
        (lambda: texthash.train("itq", TEXTS, vectors=VECTORS[:3]), "3 vectors for 26 texts"),
        (lambda: texthash.train("nash", vectors=VECTORS), "nash learns from texts"),
        (lambda: texthash.train("itq", vectors=VECTORS * [np.nan]), r"vectors\[0\] has nan at position 0"),
        (lambda: texthash.train("itq", vectors=VECTORS[0]), r"of shape \(20,\)"),
        (lambda: texthash.Index(model, TEXTS), "vectors of your own"),
        (lambda: texthash.Index(model, TEXTS[:2], vectors=VECTORS), "26 vectors for 2 texts"),
        (lambda: index.search("sort"), "vectors of your own"),
        (lambda: index.search("sort", vectors=VECTORS), "26 vectors for 1 texts"),
        (lambda: index.search(vectors=VECTORS, mode="hybrid"), "needs texts"),
        (lambda: index.search(), "needs a query or vectors"),
        (lambda: index.search(vectors=VECTORS[:, :3]), "vectors of 3 numbers"),
    ):
        with pytest.raises(UsageError, match=message):
            call()
