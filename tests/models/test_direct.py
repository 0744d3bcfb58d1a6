"""Encoding of few texts without torch: the codes are those of torch, for every method that has the form for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import ModelMismatchError
from texthash.methods.registry import build, get_method, hyperparameters, methods
from texthash.models.direct_form import direct_encoder
from texthash.models.hasher import Hasher
from texthash.models.query_encoder import QueryEncoder

BITS = 16
OF_WORDS = [name for name in sorted(methods()) if not get_method(name).card.inputs_needed & {"dense", "token_vectors"}]
DIRECT = ["bvae", "itq", "lsh", "nash", "pcah", "sth", "vdsh"]  # some that are certainly of this form


def built(name: str, corpus: PreparedCorpus) -> Hasher:
    """A model with random weights, and thresholds at which bits are not all alike."""
    known = hyperparameters(name)
    method = build(name, corpus.shape, BITS, {"hidden": 64} if "hidden" in known else {}, 0)
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in method.parameters():
            weights.normal_(0, 0.1)
        method.binarizer.thresholds.normal_(0, 0.01)
    return Hasher.of(method, corpus)


@pytest.mark.parametrize("name", OF_WORDS)
def test_codes_are_those_of_torch(name: str, small_corpus: PreparedCorpus, tmp_path: Path) -> None:
    plain = built(name, small_corpus)
    loaded = Hasher.load(plain.save(tmp_path / name))
    if loaded._direct is None:
        assert name not in DIRECT
        return
    terms = small_corpus.vocabulary.terms
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(terms, rng.integers(1, 30))) for _ in range(300)] + ["", "qqqq"]
    expected = plain.read(texts)
    margins = plain.pre_threshold_margins(expected.values)
    found = [loaded.read([text]) for text in texts]
    values = torch.cat([one.values for one in found])
    np.testing.assert_allclose(values, expected.values, rtol=1e-4, atol=1e-5)
    assert [bool(one.known[0]) for one in found] == expected.known.tolist()
    differing = np.unpackbits(loaded.binarize(values) ^ plain.binarize(expected.values), axis=1).astype(bool)
    assert np.abs(margins[differing]).max(initial=0.0) < 1e-6
    assert differing.sum() <= 1
    together = loaded.read(texts[:40]).values
    encoder = QueryEncoder.open(tmp_path / name)
    assert [encoder.read([text]).codes.tobytes() for text in texts] == [
        row.tobytes() for row in loaded.binarize(values)
    ]
    queries = encoder.read(texts[:40])
    np.testing.assert_array_equal(queries.margins, loaded.query_values(together))
    assert queries.known.tolist() == expected.known[:40].tolist()
    assert torch.equal(together, values[:40]), "the values of a text depend on the others"


def test_a_bit_that_is_too_close_is_left_to_torch(small_corpus: PreparedCorpus) -> None:
    method = built("itq", small_corpus).method
    direct = direct_encoder(method)
    assert direct is not None
    ids, weights = np.array([3, 5]), np.array([0.6, 0.8], np.float32)
    found = direct.activations(ids, weights)
    assert found is not None
    method.binarizer.thresholds[2] = float(found[2]) * (1 + 1e-7)
    close = direct_encoder(method)
    assert close is not None
    assert close.activations(ids, weights) is None


def test_a_method_that_computes_something_else_is_left_to_torch(small_corpus: PreparedCorpus) -> None:
    method = built("itq", small_corpus).method

    class Other(type(method)):  # type: ignore[misc]
        def activations(self, batch, role="document"):
            return -super().activations(batch, role)

    method.__class__ = Other
    assert direct_encoder(method) is None


def test_a_query_that_is_too_close_is_left_to_the_model(small_corpus: PreparedCorpus, tmp_path: Path) -> None:
    hasher = built("itq", small_corpus)
    text = " ".join(small_corpus.vocabulary.terms[:5])
    hasher.method.binarizer.thresholds[2] = hasher.read([text]).values[0, 2]
    encoder = QueryEncoder.open(hasher.save(tmp_path / "model"))
    encoded, expected = encoder.read([text]), hasher.read([text])
    assert "hasher" in vars(encoder)
    assert encoded.codes.tobytes() == hasher.binarize(expected.values).tobytes()


def test_weights_without_a_form_are_left_to_the_model(small_corpus: PreparedCorpus, tmp_path: Path) -> None:
    """So are those of an earlier version, and those whose form fits them not."""
    hasher = built("itq", small_corpus)
    folder = hasher.save(tmp_path / "model")
    direct = QueryEncoder.open(folder)
    expected = direct.read(["sort an array"])
    assert "hasher" not in vars(direct), "the model itself was loaded"
    weights = load_file(folder / "model.safetensors")
    record = json.loads((folder / "hasher.json").read_text())
    del record["files"], record["digest"]
    (folder / "hasher.json").write_text(json.dumps(record))
    form = {"weighting": "tfidf", "thresholds": "binarizer.thresholds"}
    layer = {"weight": "projection.weight", "bias": "projection.bias", "transposed": True, "positive": False}
    for described in (None, {"direct": "{"}, {"direct": json.dumps({**form, "layers": [layer]})}):
        save_file(weights, folder / "model.safetensors", described)
        encoder = QueryEncoder.open(folder)
        assert "hasher" in vars(encoder)
        np.testing.assert_array_equal(encoder.read(["sort an array"]).codes, expected.codes)


def test_damaged_weights_have_an_error_when_they_are_opened(small_corpus: PreparedCorpus, tmp_path: Path) -> None:
    folder = built("itq", small_corpus).save(tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelMismatchError, match=r"model\.safetensors is damaged"):
        QueryEncoder.open(folder)
