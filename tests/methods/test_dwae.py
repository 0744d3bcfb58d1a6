"""What makes DWAE this method: all documents together are drawn to the prior, no document by itself."""

from typing import get_args

import numpy as np
import pytest
import torch

from texthash.corpora.prepared.batches import batches
from texthash.errors import UsageError
from texthash.methods.base import Progress
from texthash.methods.dwae import Divergence
from texthash.methods.registry import build
from texthash.nn.estimators import gumbel_softmax

BITS, DOCUMENTS, CERTAIN = 8, 256, 30.0


def mismatch(method, q, draws=30):
    """Mean of D over samples of the code and of the prior, and its standard error."""
    values = []
    for seed in range(draws):
        progress = Progress(step=1, total=1, generator=torch.Generator().manual_seed(seed))
        z = gumbel_softmax(q, 0.1, progress.generator)[..., 1]
        values.append(float(method.mismatch(q, z, progress)))
    return np.mean(values), np.std(values) / np.sqrt(draws)


def pairs(bits):
    """Logits of certain codes."""
    return torch.stack([-CERTAIN * (2 * bits - 1), CERTAIN * (2 * bits - 1)], dim=-1) / 2


@pytest.fixture(params=get_args(Divergence))
def method(request, small_corpus):
    return build("dwae", small_corpus.shape, BITS, {"divergence": request.param})


def test_only_the_aggregated_posterior_counts(method):
    """Every document certain of one of all 2^8 codes, or undecided on every bit: the same q(z), the same D, near 0."""
    everyone = torch.tensor(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)).float()
    certain, certain_error = mismatch(method, pairs(everyone))
    undecided, undecided_error = mismatch(method, torch.zeros(DOCUMENTS, BITS, 2))
    collapsed, _ = mismatch(method, pairs(torch.ones(DOCUMENTS, BITS)))
    # The codes of the certain are each met once, a luck that samples of the others do not have: a little below.
    assert abs(certain - undecided) < 0.05 * collapsed + 3 * (certain_error + undecided_error)
    assert abs(undecided) < 0.1 * collapsed
    assert collapsed > 0.1


def test_every_divergence_reaches_the_encoder(method, small_corpus):
    batch = next(iter(batches(small_corpus.train, 64)))
    terms = method.loss(batch, Progress(step=1, total=1, generator=torch.Generator().manual_seed(0)))
    assert set(terms) == {"reconstruction", "divergence"}
    terms["divergence"].backward()
    assert method.logits.weight.grad.abs().sum() > 0


def test_the_decoder_sees_bits(small_corpus):
    method, seen = build("dwae", small_corpus.shape, BITS), []
    method.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    method.loss(next(iter(batches(small_corpus.train, 64))), Progress(step=0, total=10))
    assert set(seen[0].unique().tolist()) == {0.0, 1.0}


def test_an_unknown_divergence_is_answered_with_the_nearest(small_corpus):
    with pytest.raises(UsageError, match=r"divergence='sinkhorm': .*did you mean 'sinkhorn'"):
        build("dwae", small_corpus.shape, BITS, {"divergence": "sinkhorm"})
