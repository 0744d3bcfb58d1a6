"""DABA: which steps come when, whom they move, and that codes of its own are drawn to fair coins."""

import pytest
import torch

from texthash.corpora.prepared.batches import batches
from texthash.errors import UsageError
from texthash.methods.base import Progress
from texthash.methods.registry import build

SMALL = {"embedding": 16, "channels": 16, "hidden": 32, "places": 4, "length": 32}


def train_batches(method, split, size=64):
    return batches(split, size, method.inputs, shuffle_seed=0)


def test_rounds_of_reconstruction_and_distance_of_which_the_last_moves_the_encoder_alone(small_corpus):
    method = build("daba", small_corpus.shape, 16, {**SMALL, "reconstruction_steps": 2, "distance_steps": 1})
    optimizers = method.optimizers()
    seen = []
    for number, batch in enumerate(train_batches(method, small_corpus.train)):
        before = {key: value.clone() for key, value in method.named_parameters()}
        terms = method.step(batch, Progress(step=number, total=100), optimizers)
        moved = {key.split(".")[0] for key, value in method.named_parameters() if not torch.equal(before[key], value)}
        assert moved == ({"encoder", "logits"} if "distance" in terms else {"encoder", "logits", "decoder"})
        seen += terms
        if number == 6:
            break
    assert seen == ["reconstruction", "reconstruction", "distance"] * 2 + ["reconstruction"]


@pytest.mark.parametrize("distance", ["assigned", "sliced"])
def test_distance_alone_balances_the_bits_of_real_documents(small_corpus, distance):
    method = build(
        "daba",
        small_corpus.shape,
        8,
        {**SMALL, "distance": distance, "reconstruction_steps": 0, "distance_weight": 1.0, "learning_rate": 5e-3},
    )
    optimizers = method.optimizers()
    torch.nn.init.constant_(method.logits.bias, 1.5)

    def imbalance():
        with torch.no_grad():
            documents = next(iter(train_batches(method, small_corpus.train, 512)))
            return float((torch.sigmoid(method.activations(documents)).mean(dim=0) - 0.5).abs().mean())

    before, step = imbalance(), 0
    for _ in range(3):
        for batch in train_batches(method, small_corpus.train):
            method.step(batch, Progress(step=step, total=100), optimizers)
            step += 1
    assert before > 0.25
    assert imbalance() < before / 3


def test_an_unknown_distance_is_refused(small_corpus):
    with pytest.raises(UsageError, match=r"distance='asigned': .*did you mean 'assigned'"):
        build("daba", small_corpus.shape, 16, {"distance": "asigned"})
