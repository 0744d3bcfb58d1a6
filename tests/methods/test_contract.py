"""The contract holds what the survey's stranger systems ask of it: five sketches, thrown away after the test.

One is adversarial: a critic and an encoder with an optimiser each, trained on codes gathered from all workers. One has
an encoder for queries and one for documents, and learns from pairs. One reads word sequences and neighbours. One knows
the labels of some documents and guesses those of the others. One remembers codes of all documents, and has a decoder to
their neighbours, neither of which belongs to the model that is saved.
"""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches
from texthash.hamming.codes import unpack
from texthash.methods.base import Card, ClosedForm, GradientStage, HashMethod, Progress
from texthash.methods.nash import NASH
from texthash.models.encoding import encode_split
from texthash.models.hasher import Hasher
from texthash.nn.encoders import SparseLinear
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
        progress.workers.optimizer_step(told, optimizers["critic"], clip=1.0)
        deceived = F.softplus(-self.critic(codes)).mean()
        logits = torch.log_softmax(self.decoder(torch.tanh(self.encoder(batch))), dim=1)
        words = -logits[batch.document, batch.indices].sum() / len(batch)
        progress.workers.optimizer_step(words + deceived, optimizers["coder"])
        return {"critic": told, "deceived": deceived, "words": words}

    def activations(self, batch, role="document"):
        return self.encoder(batch)


class TwoEncoders(HashMethod):
    """Queries and documents have encoders of their own; a pair's inner product must beat the batch's others."""

    card = _card("two_encoders", supervision="pairs", serving_mode="hamming+rerank")

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

    card = _card("few", inputs_needed=frozenset({"tokens", "neighbours"}))

    def __init__(self, shape, bits):
        super().__init__(shape, bits)
        self.inputs = replace(self.inputs, neighbours=3, max_length=5)
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


class GuessesLabels(NASH):
    """A head tells classes from the features, and its guesses, of all documents, say whose codes are to be near."""

    card = _card("guesses", inputs_needed=frozenset({"labels"}), supervision="labels")

    def __init__(self, shape, bits):
        super().__init__(shape, bits, hidden=64)
        self.classes = nn.Linear(64, shape.labels)
        self.labelled = set()

    def loss(self, batch, progress):
        self.labelled |= set(batch.rows[batch.labelled].tolist())
        z, kl = self.sample(batch, progress)
        scores = self.classes(self.encoder(batch))
        known = F.cross_entropy(scores[batch.labelled], batch.labels[batch.labelled].argmax(dim=1), reduction="sum")
        codes, guesses = progress.workers.gather(z), progress.workers.gather(torch.softmax(scores, dim=1))
        apart, alike = torch.cdist(codes, codes, p=1), guesses @ guesses.T
        pairs = alike * apart + (1 - alike) * F.relu(self.bits / 3 - apart)
        told = {"classes": known / max(1, int(batch.labelled.sum())), "pairs": pairs.mean()}
        return {**self.bound(z, kl, batch, progress), **told}


class Remembers(NASH):
    """Codes of documents as they were last seen, and a table of a decoder to neighbours with a row a document."""

    card = _card("remembers", inputs_needed=frozenset({"neighbours"}))
    training_only = frozenset({"memory", "neighbour_table"})

    def __init__(self, shape, bits):
        super().__init__(shape, bits, hidden=64)

    def setup(self, train):
        self.register_buffer("memory", torch.zeros(len(train), self.bits))
        self.neighbour_table = nn.Embedding(len(train), self.bits)

    def loss(self, batch, progress):
        z, kl = self.sample(batch, progress)
        self.memory[batch.rows] = z.detach()
        scores = z @ self.neighbour_table.weight.T
        near = -torch.log_softmax(scores, dim=1).gather(1, batch.neighbours).mean()
        return {**self.bound(z, kl, batch, progress), "near": near}


def test_a_share_of_the_labels_is_known_and_all_documents_are_paired(small_corpus):
    method = GuessesLabels(small_corpus.shape, 16)
    result = fit(method, small_corpus.train, TrainingConfig(epochs=4, batch_size=64, labelled=0.4))
    assert 0.3 < len(method.labelled) / len(small_corpus.train) < 0.5
    first, last = (report.terms for report in (result.history[1], result.history[-1]))
    assert last["classes"] < 0.7 * first["classes"]
    assert last["pairs"] < first["pairs"]


def test_what_only_training_needs_is_learned_and_not_saved(small_corpus):
    method = Remembers(small_corpus.shape, 16)
    result = fit(method, small_corpus.train, TrainingConfig(epochs=3, batch_size=64))
    near = [report.terms["near"] for report in result.history if report.terms]
    assert near[-1] < near[0]
    assert int(method.memory.any(dim=1).sum()) > 0.9 * len(small_corpus.train)
    assert "neighbour_table.weight" in method.state_dict()
    assert not [key for key in method.inference_state_dict() if key.split(".")[0] in method.training_only]


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
