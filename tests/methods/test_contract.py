"""The contract holds what the survey's stranger systems ask of it: three sketches, thrown away after the test.

One is adversarial: a critic and an encoder with an optimiser each, trained on codes gathered from all workers. One has
an encoder for queries and one for documents, and learns from pairs. One reads word sequences and neighbours.
"""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from texthash.config import TrainingConfig
from texthash.corpora.batches import batches
from texthash.hamming.codes import unpack
from texthash.methods.base import Card, ClosedForm, GradientStage, HashMethod, Progress
from texthash.methods.encode import encode_split
from texthash.methods.hasher import Hasher
from texthash.parts.encoders import SparseLinear
from texthash.training.loop import fit


def _card(name, **more):
    return Card(name=name, title="a sketch", venue="-", survey_entry=None, tags=(), citation="-", **more)


class Adversarial(HashMethod):
    """A critic tells codes from fair coin flips; the encoder both reconstructs and deceives it."""

    card = _card("adversarial")

    def __init__(self, shape, bits):
        super().__init__(shape, bits)
        self.encoder = SparseLinear(shape.vocabulary, bits)
        self.decoder = nn.Linear(bits, shape.vocabulary)
        self.critic = nn.Sequential(nn.Linear(bits, 32), nn.ReLU(), nn.Linear(32, 1))

    def stages(self):
        return (
            ClosedForm("scale", self.scale),
            GradientStage(
                "adversarial",
                self.optimizers,
                epochs=3,
                batch_size=64,
                step=self.step,
                learning_rate=lambda progress: 1.0 - 0.5 * progress.fraction,
            ),
        )

    def scale(self, train):
        self.encoder.weight.data.mul_(np.sqrt(len(train)))

    def optimizers(self):
        return {
            "coder": torch.optim.Adam([*self.encoder.parameters(), *self.decoder.parameters()], lr=1e-2),
            "critic": torch.optim.Adam(self.critic.parameters(), lr=1e-2),
        }

    def step(self, batch, progress, optimizers):
        self.rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers.values()]
        codes = progress.workers.gather(torch.tanh(self.encoder(batch)))
        fair = torch.randint(0, 2, codes.shape, generator=progress.generator).float() * 2 - 1
        told = F.softplus(-self.critic(fair)).mean() + F.softplus(self.critic(codes.detach())).mean()
        progress.workers.minimise(told, optimizers["critic"], clip=1.0)
        deceived = F.softplus(-self.critic(codes)).mean()
        logits = torch.log_softmax(self.decoder(torch.tanh(self.encoder(batch))), dim=1)
        words = -logits[batch.document, batch.indices].sum() / len(batch)
        progress.workers.minimise(words + deceived, optimizers["coder"])
        return {"critic": told, "deceived": deceived, "words": words}

    def activations(self, batch, role="document"):
        return self.encoder(batch)


class TwoEncoders(HashMethod):
    """Queries and documents have encoders of their own; a pair's inner product must beat the batch's others."""

    card = _card("two_encoders", supervision="pairs", serves="hamming+rerank")

    def __init__(self, shape, bits):
        super().__init__(shape, bits)
        self.encoders = nn.ModuleDict({role: SparseLinear(shape.vocabulary, bits) for role in ("query", "document")})

    def stages(self):
        return (GradientStage("pairs", self.optimizers, epochs=2, batch_size=64, step=self.step),)

    def optimizers(self):
        return {"main": torch.optim.Adam(self.parameters(), lr=1e-2)}

    def loss(self, batch, progress):
        queries = progress.workers.gather(torch.tanh(self.activations(batch.query, "query")))
        documents = progress.workers.gather(torch.tanh(self.activations(batch.positive, "document")))
        scores = queries @ documents.T
        return {"pairs": F.cross_entropy(scores, torch.arange(len(scores)))}

    def activations(self, batch, role="document"):
        return self.encoders[role](batch)


class FewNeighboursOfShortTexts(HashMethod):
    """Asks for tokens and neighbours, and says how many."""

    card = _card("few", needs=frozenset({"tokens", "neighbours"}))
    neighbours, max_length = 3, 5

    def __init__(self, shape, bits):
        super().__init__(shape, bits)
        self.words = nn.Embedding(shape.vocabulary, bits)
        self.seen = set()

    def stages(self):
        return (GradientStage("train", self.optimizers, epochs=1, batch_size=64, step=self.step),)

    def optimizers(self):
        return {"main": torch.optim.Adam(self.parameters())}

    def loss(self, batch, progress):
        return {"size": self.activations(batch).square().mean() + 0.0 * batch.neighbour_weights.sum()}

    def activations(self, batch, role="document"):
        self.seen.add((batch.tokens.shape[1], None if batch.neighbours is None else batch.neighbours.shape[1]))
        return (self.words(batch.tokens) * batch.mask[:, :, None]).sum(dim=1)


def test_a_method_says_how_many_neighbours_and_words_it_is_given(small_corpus):
    method = FewNeighboursOfShortTexts(small_corpus.shape, 8)
    fit(method, small_corpus.train, TrainingConfig())
    assert method.seen == {(5, 3)}
    method.seen.clear()
    hasher = Hasher.of(method, small_corpus)
    texts = next(small_corpus.validation.documents(16))["text"].to_pylist()
    assert np.array_equal(hasher.encode(texts), hasher.encode_split(small_corpus.validation)[:16])
    assert method.seen == {(5, None)}, "codes depend on no neighbours"


def test_two_optimisers_alternate_and_both_learn(small_corpus):
    method = Adversarial(small_corpus.shape, 16)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    result = fit(method, small_corpus.train, TrainingConfig())
    assert result.history[0].stage == "scale"
    reports = [report for report in result.history if report.stage == "adversarial"]
    assert len(reports) == 3
    assert reports[-1].terms["words"] < reports[0].terms["words"]
    assert all(0.005 < rate < 0.0052 for rate in method.rates)
    assert all(not torch.equal(before[key], value) for key, value in method.named_parameters())
    assert unpack(encode_split(method, small_corpus.validation)).shape == (len(small_corpus.validation), 16)


def test_two_encoders_learn_from_pairs_and_encode_by_role(small_corpus):
    method = TwoEncoders(small_corpus.shape, 16)
    optimizers = method.optimizers()
    losses = []
    for batch in batches(small_corpus.train, 64, shuffle_seed=0):
        pairs = replace(batch, query=batch, positive=batch)
        losses.append(method.step(pairs, Progress(step=0, total=1), optimizers)["pairs"].item())
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    documents = encode_split(method, small_corpus.validation)
    queries = encode_split(method, small_corpus.validation, role="query")
    assert documents.shape == queries.shape
    assert not np.array_equal(documents, queries)
