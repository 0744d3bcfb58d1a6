"""HAS: its loss by hand, what a question reads in the stored bits of an answer, and the bytes that these take."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches, take
from texthash.corpora.prepared.pairs import Queries
from texthash.errors import UsageError
from texthash.hamming.codes import unpack
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.methods.reranker import Reranker, TokenCodes
from texthash.nn.workers import Workers
from texthash.training.loop import fit

BITS = 32
SMALL = {"embedding": 24, "filters": 16, "length": 24}


def documents_of(method, split, rows):
    return take(split, rows, method.encoding_inputs)


@pytest.fixture(scope="module")
def fitted(pair_corpus):
    method = build("has", pair_corpus.shape, BITS, {**SMALL, "epochs": 8})
    return fit(method, pair_corpus.train, TrainingConfig(batch_size=64)).method.eval()


def test_the_loss_of_a_few_pairs_is_that_of_a_plain_loop(pair_corpus):
    params = {**SMALL, "scale": 3.0, "margin": 0.4, "sign_weight": 0.01, "candidates": 4}
    method = build("has", pair_corpus.shape, 16, params)
    method.start_words(pair_corpus.train)
    method.setup(pair_corpus.train)
    batch = next(iter(batches(pair_corpus.train, 6, method.inputs, shuffle_seed=0)))
    with torch.no_grad():
        terms = method.loss(batch, Progress(step=0, total=10))
        questions, asked = method.token_rows(batch.query)
        sides = [method.token_rows(side) for side in (batch.positive, batch.negative)]
        answers = [rows[i][mask[i]] for rows, mask in sides for i in range(6)]
        known = method.answering(batch, Workers()).tolist()

        def score(i, j):
            question = questions[i][asked[i]].mean(dim=0)
            bits = [torch.tanh(3.0 * row) for row in answers[j]]
            logits = [
                float(method.attention(torch.tanh(method.of_bits(row) + method.of_question(question)))) for row in bits
            ]
            total = sum(math.exp(logit) for logit in logits)
            answer = sum(math.exp(logit) / total * row for logit, row in zip(logits, bits, strict=True))
            return float(question @ answer / (question.norm() * answer.norm()))

        hinges = []
        for i in range(6):
            wrong = [score(i, j) for j in (i + 6, *((i + k) % 6 for k in (1, 2, 3))) if not known[i][j]]
            hinges.append(max(0.0, 0.4 - score(i, i) + max(wrong)) if wrong else 0.0)
        errors = [float(sum((1 - torch.tanh(3.0 * row).abs()).square().sum() for row in rows)) for rows in answers]
    assert float(terms["ranking"]) == pytest.approx(np.mean(hinges), rel=1e-4)
    assert float(terms["signs"]) == pytest.approx(0.01 * np.mean(errors), rel=1e-4)


def test_another_answer_of_a_question_is_never_the_wrong_one(pair_corpus):
    method = build("has", pair_corpus.shape, 16, {**SMALL, "candidates": 3})
    bits, mask = torch.randn(8, 5, 16), torch.ones(8, 5, dtype=torch.bool)
    answers = torch.zeros(4, 8, dtype=torch.bool)
    answers[0] = True
    answers[1, [2, 5]] = True
    chosen, found = method.hardest(torch.randn(4, 16), bits, mask, answers)
    assert found.tolist() == [False, True, True, True]
    assert chosen[1] == 3, "its hard negative and the next answer are right, and one candidate is left"


def test_two_questions_read_different_vectors_from_the_same_bits(fitted, pair_corpus):
    stored = fitted.token_codes(documents_of(fitted, pair_corpus.validation, [3]))
    assert set(np.unique(unpack(stored.codes))) == {0, 1}
    bits, mask = fitted.signs(stored)
    assert set(bits[mask].unique().tolist()) == {-1.0, 1.0}
    questions = fitted.activations(documents_of(fitted, Queries(pair_corpus.validation), [0, 40]))
    one, two = fitted.answer_vectors(questions, bits, mask, torch.zeros(2, 1, dtype=torch.int64))[:, 0]
    assert (one - two).abs().max() > 1e-3


def test_the_order_of_the_rows_does_not_matter(fitted, pair_corpus):
    stored = fitted.token_codes(documents_of(fitted, pair_corpus.validation, [3]))
    question = documents_of(fitted, Queries(pair_corpus.validation), [0])
    shuffled = replace(stored, codes=stored.codes[np.random.default_rng(0).permutation(len(stored.codes))])
    torch.testing.assert_close(fitted.scores(question, stored), fitted.scores(question, shuffled))


def test_a_document_takes_a_bit_a_number(fitted, pair_corpus):
    batch = documents_of(fitted, pair_corpus.validation, range(20))
    stored = fitted.token_codes(batch)
    assert np.diff(stored.indptr).tolist() == batch.mask.sum(dim=1).tolist()
    assert max(np.diff(stored.indptr)) == SMALL["length"], "longer documents are truncated"
    assert stored.codes.nbytes == int(batch.mask.sum()) * BITS / 8


def test_a_score_does_not_depend_on_the_other_candidates(fitted, pair_corpus):
    assert isinstance(fitted, Reranker)
    parts = [
        fitted.token_codes(documents_of(fitted, pair_corpus.train, range(start, start + 150))) for start in (0, 150)
    ]
    stored = TokenCodes.join(parts)  # more than are scored at a time
    questions = documents_of(fitted, Queries(pair_corpus.validation), [0, 7])
    scores = fitted.scores(questions, stored)
    assert scores.shape == (2, 300)
    for rows in ([299, 4], [17]):
        torch.testing.assert_close(fitted.scores(questions, stored.take(np.array(rows))), scores[:, rows])


def test_a_document_without_words_scores_nothing(fitted, pair_corpus):
    empty = TokenCodes(np.zeros(2, np.int64), np.empty((0, BITS // 8), np.uint8))
    question = documents_of(fitted, Queries(pair_corpus.validation), [0])
    assert fitted.scores(question, empty).tolist() == [[0.0]]


def test_word_pieces_are_read_where_an_encoder_gives_them(encoded_shape, pair_corpus):
    method = build("has", encoded_shape, BITS, {**SMALL, "input": "pieces"})
    assert method.encoding_inputs.needs == {"token_vectors"}
    assert not method.reads_words
    with pytest.raises(UsageError, match=r"input=pieces: has reads vectors of word pieces, and the corpus has none"):
        build("has", pair_corpus.shape, BITS, {"input": "pieces"})
    given = replace(pair_corpus.shape, encoder="column:vector", dense=8)
    with pytest.raises(UsageError, match="has vectors by column:vector, one a document"):
        build("has", given, BITS, {"input": "pieces"})
