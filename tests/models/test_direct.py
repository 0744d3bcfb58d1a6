"""Encoding of few texts without torch: the codes are those of torch, for every method that has the form for it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.corpora.embeddings.conftest import save_transformer
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.embeddings.encoder import identity
from texthash.errors import ModelMismatchError, UsageError
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


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("onnxruntime", reason="pip install 'texthash[text]'")
    return str(save_transformer(tmp_path_factory.mktemp("encoder") / "model", width=32))


@pytest.mark.parametrize("name", ["itq", "lsh", "pcah", "sign"])
@pytest.mark.parametrize("read", ["features", "both"])
def test_codes_of_a_sentence_encoder_are_those_of_torch(
    name: str, read: str, small_corpus: PreparedCorpus, transformer: str, tmp_path: Path
) -> None:
    bits = 32 if name == "sign" else BITS
    if name == "sign" and read == "both":
        return
    method = build(name, replace(small_corpus.shape, dense=32, encoder=identity(transformer)), bits, {"input": read}, 0)
    with torch.no_grad():
        for weights in method.parameters():
            if name != "sign":
                weights.normal_(0, 0.1)
        method.binarizer.thresholds.normal_(0, 0.01)
    plain = Hasher.of(method, small_corpus)
    terms = small_corpus.vocabulary.terms
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(terms, rng.integers(1, 20))) for _ in range(50)] + ["", "  ", "qqqq"]
    expected = plain.read(texts)
    encoder = QueryEncoder.open(plain.save(tmp_path / "model"))
    found = encoder.read(texts)
    assert "hasher" not in vars(encoder), "the model itself was loaded"
    np.testing.assert_allclose(found.margins, plain.query_values(expected.values), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.codes, plain.binarize(expected.values))
    assert found.known.tolist() == expected.known.tolist()


def test_a_query_by_a_sentence_encoder_imports_no_torch(
    small_corpus: PreparedCorpus, transformer: str, tmp_path: Path
) -> None:
    method = build(
        "itq", replace(small_corpus.shape, dense=32, encoder=identity(transformer)), BITS, {"input": "features"}, 0
    )
    torch.nn.init.normal_(method.projection.features)
    hasher = Hasher.of(method, small_corpus)
    expected = hasher.encode(["sort an array"]).tolist()  # exports the encoder
    program = (
        "import sys; from texthash.models.query_encoder import QueryEncoder\n"
        "print(QueryEncoder.open(sys.argv[1]).read(['sort an array']).codes.tolist(), 'torch' in sys.modules)"
    )
    folder = hasher.save(tmp_path / "model")
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{expected} False"


def test_a_model_of_own_vectors_asks_for_one(small_corpus: PreparedCorpus, tmp_path: Path) -> None:
    shape = replace(small_corpus.shape, dense=8, encoder="column:vector")
    hasher = Hasher.of(build("lsh", shape, BITS, {"input": "features"}, 0), small_corpus)
    encoder = QueryEncoder.open(hasher.save(tmp_path / "model"))
    with pytest.raises(UsageError, match="vectors of your own"):
        encoder.read(["sort an array"])
    vector = np.arange(8, dtype=np.float32)[None]
    np.testing.assert_array_equal(encoder.read([""], features=vector).codes, hasher.encode_vectors(vector))


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
