"""SimEx-Hash: key pieces, a tanh that sharpens, balanced and independent bits."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.linalg import hadamard

from texthash.corpora.prepared.batches import batches
from texthash.corpora.prepared.corpus import CorpusShape, PreparedCorpus
from texthash.methods.base import HashMethod, Progress
from texthash.methods.registry import build
from texthash.models.graphs import ensure_views
from texthash.nn.balance import bit_balance, decorrelation
from texthash.nn.quantization import root_scale, scaled_tanh

BITS = 16


def made(shape: CorpusShape, corpus: PreparedCorpus, **params: object) -> HashMethod:
    method = build("simex", shape, BITS, {"filters": 6, **params})
    ensure_views(method, corpus.train)
    method.setup(corpus.train)
    method.set_projection(corpus.train)
    return method.eval()


def progress(step: int = 0) -> Progress:
    return Progress(step=step, total=10, generator=torch.Generator().manual_seed(0))


def test_the_loss_of_codes_of_zeros_is_known(encoded_shape: CorpusShape, small_corpus: PreparedCorpus) -> None:
    method = made(encoded_shape, small_corpus, decorrelation=0.5, similarity=3.0, redundancy=0.25)
    for parameter in method.logits.parameters():
        torch.nn.init.zeros_(parameter)
    batch = next(iter(batches(small_corpus.train, 16, method.inputs)))
    loss = method.loss(batch, progress())
    assert loss["pieces"].item() == pytest.approx(2 * math.log(2), rel=1e-5)
    assert loss["bit_balance"].item() == 0
    assert loss["decorrelation"].item() == pytest.approx(0.5 * BITS)
    assert loss["similarity"].item() == pytest.approx(3.0 * 16 / 16**2)
    key, redundant = method.key(*method.pieces(batch))
    cosine = (key * redundant).sum(1) / key.norm(dim=1) / redundant.norm(dim=1)
    assert loss["redundancy"].item() == pytest.approx(0.25 * cosine.abs().mean().item(), rel=1e-4)


def test_the_tanh_sharpens_to_the_sign(encoded_shape: CorpusShape, small_corpus: PreparedCorpus) -> None:
    method = made(encoded_shape, small_corpus)
    batch = next(iter(batches(small_corpus.train, 64, method.inputs)))
    values = method.activations(batch)
    errors = [(1 - scaled_tanh(values, root_scale(f, end=1000.0)).abs()).mean() for f in (0, 0.01, 0.1, 1)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05 < errors[0]


def test_balance_and_independence_are_zero_for_a_hadamard_matrix() -> None:
    codes = torch.from_numpy(hadamard(16)[:, 1:9].astype("float32"))
    assert decorrelation(codes) == 0
    assert bit_balance(codes) == 0
    doubled = torch.cat([codes, codes], dim=1)
    assert decorrelation(doubled) > 0
    assert bit_balance(codes.abs()) == 8


def test_neighbours_are_of_the_sentence_vectors(encoded_shape: CorpusShape, small_corpus: PreparedCorpus) -> None:
    method = made(encoded_shape, small_corpus, neighbours=1)
    batch = next(iter(batches(small_corpus.train, 16, method.inputs)))
    drawn = method.drawn_neighbours(batch, progress())
    nearest = small_corpus.train.neighbours(1, f"dense:{encoded_shape.encoder}")[0][:16, 0]
    assert drawn.rows.tolist() == nearest.tolist()
    assert drawn.dense is None
    assert drawn.token_vectors is not None
