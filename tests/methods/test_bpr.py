"""BPR: its losses by hand, the scale of its steps, and the two stages of its search."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.pairs import Queries
from texthash.evaluation.relevance import judged_queries
from texthash.hamming import kernels
from texthash.hamming.asymmetric import asymmetric
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.models.encoding import activations_of, split_batches
from texthash.models.hasher import Hasher
from texthash.training.loop import fit

BITS = 64


@pytest.fixture(scope="module")
def fitted(pair_corpus: PreparedCorpus) -> Hasher:
    method = build("bpr", pair_corpus.shape, BITS, {"tower_epochs": 3, "epochs": 5})
    return Hasher.of(fit(method, pair_corpus.train, TrainingConfig(batch_size=64)).method, pair_corpus)


@pytest.mark.parametrize("fraction", [0.0, 0.25])
def test_the_losses_of_a_few_pairs_are_those_of_a_plain_loop(pair_corpus, fraction):
    method = build("bpr", pair_corpus.shape, 16, {"final_scale": 5.0, "temperature": 0.1, "dropout": 0.0})
    method.setup(pair_corpus.train)
    batch = next(iter(batches(pair_corpus.train, 5, method.inputs, shuffle_seed=0)))
    with torch.no_grad():
        terms = method.loss(batch, Progress(step=int(100 * fraction), total=100))
        questions = method.encoded(batch.query, "query").double()
        documents = torch.cat([method.encoded(side, "document") for side in (batch.positive, batch.negative)]).double()
    scale = math.sqrt(1 + 24 * fraction)
    asked = Queries(pair_corpus.train).digests
    answers_of = {digest: set() for digest in asked.tolist()}
    for digest, row in zip(asked.tolist(), Queries(pair_corpus.train).documents_of_rows.tolist(), strict=True):
        answers_of[digest].add(row)
    rows = [*batch.rows.tolist(), *batch.negative.rows.tolist()]
    hinges, softmaxes = [], []
    for i in range(5):
        known = answers_of[asked[batch.query.rows[i]].item()]
        wrong = [j for j in range(10) if rows[j] not in known]
        relaxed = [float(torch.tanh(scale * questions[i]) @ torch.tanh(scale * d)) for d in documents]
        scores = [float(questions[i] @ torch.tanh(scale * d)) / (16 * 0.1) for d in documents]
        hinges += [max(0.0, 2.0 - relaxed[i] + relaxed[j]) for j in wrong]
        softmaxes.append(math.log(sum(math.exp(scores[j] - scores[i]) for j in [i, *wrong])))
    assert float(terms["candidate"]) == pytest.approx(np.mean(hinges), rel=1e-4)
    assert float(terms["rerank"]) == pytest.approx(np.mean(softmaxes), rel=1e-4)


def test_towers_have_weights_of_their_own_and_vectors_of_one_length(fitted, pair_corpus):
    query, document = (fitted.method.tower(role) for role in ("query", "document"))
    assert not torch.equal(query.weight, document.weight)
    for role in ("query", "document"):
        values = activations_of(fitted.method, split_batches(fitted.method, pair_corpus.validation), role)
        torch.testing.assert_close(values.norm(dim=1), torch.full((len(values),), math.sqrt(BITS)))


def test_float_questions_order_the_candidates_of_the_bits_better_than_the_bits(fitted, pair_corpus):
    """From the bits of the documents alone, as an index has them."""
    judged = judged_queries(pair_corpus, "validation")
    margins = fitted.pre_threshold_margins(
        activations_of(fitted.method, split_batches(fitted.method, judged.queries), "query")
    )[judged.query_rows]
    queries, database = judged.codes(fitted.encode_split)
    indptr, answers = judged.relevance.queries
    ranks: dict[str, list[float]] = {"hamming": [], "rescored": []}
    for number, (own, code) in enumerate(zip(margins, queries, strict=True)):
        distances = kernels.distances(code[None], database)[0].astype(np.float64)
        candidates = np.argsort(distances, kind="stable")[:100]
        relevant = np.isin(candidates, answers[indptr[number] : indptr[number + 1]])
        for name, scores in (
            ("hamming", -distances[candidates]),
            ("rescored", asymmetric(own, database[candidates])),
        ):
            best = scores[relevant].max(initial=-np.inf)
            above, tied = (scores > best).sum(), (scores == best).sum()
            ranks[name].append(1 / (above + (tied + 1) / 2) if relevant.any() else 0.0)
    assert np.mean(ranks["rescored"]) > 1.02 * np.mean(ranks["hamming"])
    assert np.mean(ranks["hamming"]) > 0.04, "a document at a random rank has 0.005"
