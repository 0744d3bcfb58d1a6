"""Candidate pools: which documents are in them, and their figures beside plain loops over all orders of ties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from texthash.config import CorpusConfig, Edition, EvaluationConfig, SplitRule, TrainingConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import UsageError
from texthash.evaluation.pools import (
    Pools,
    bm25_pools,
    hamming_scores,
    judged_pools,
    pool_figures,
    pools_of,
    reranker_scores,
)
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.evaluation.relevance import judged_queries
from texthash.io.ragged import indptr_of
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.training.loop import fit

SMALL = {"embedding": 16, "filters": 8, "length": 24, "epochs": 2}
WORDS = ["red", "green", "blue", "black", "white", "round", "square", "long", "short", "heavy", "light", "old", "new"]


@pytest.fixture(scope="module")
def answers_corpus(tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    """Answer selection: 120 questions of three words each, with one right answer of the same words and two wrong."""
    folder = tmp_path_factory.mktemp("answers")
    rng = np.random.default_rng(0)
    lines: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    for number in range(120):
        split = "train" if number < 80 else "dev" if number < 100 else "test"
        asked = rng.choice(WORDS, 3, replace=False)
        question = f"which one is {' '.join(asked)} number{number % 7}"
        lines[split].append(f"{question}\tthing {number} is {' '.join(asked)} and good\t1")
        for wrong in range(2):
            others = rng.choice(WORDS, 3, replace=False)
            lines[split].append(f"{question}\tthing {number} {wrong} was {' '.join(others)} and bad\t0")
    lines["dev"].append("which one has no wrong answer\tthis one is red and blue and green\t1")
    for split, rows in lines.items():
        (folder / f"{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    edition = Edition(name="given", split=SplitRule(kind="given"), vocabulary_size=200)
    config = CorpusConfig(name="answers", path=str(folder), edition=edition, shards=2)
    return PreparedCorpus.open(prepare_corpus(config, StateDir(tmp_path_factory.mktemp("home"))))


def test_a_pool_is_the_answers_and_the_wrong_documents_of_its_question(answers_corpus: PreparedCorpus) -> None:
    judged = judged_queries(answers_corpus, "validation")
    pools = judged_pools(judged)
    assert pools is not None
    assert pools.judged
    assert len(pools) == 20
    assert pools.left_out == 1
    assert np.diff(pools.indptr).tolist() == [3] * 20
    texts = [row["text"] for split in judged.database for part in split.documents() for row in part.to_pylist()]
    for (_, place), answers in zip(pools, pools.answers, strict=True):
        candidates = [texts[number] for number in pools.documents[place]]
        assert len({text.split()[1] for text in candidates}) == 1  # all three speak of the same thing
        assert [text for text in candidates if text.endswith("good")] == [texts[number] for number in answers]
    assert "3.0 candidates on average, judged by the corpus; 1 questions without a wrong" in pools.note


def test_without_judged_candidates_they_are_the_first_by_bm25(pair_corpus: PreparedCorpus) -> None:
    judged = judged_queries(pair_corpus, "validation")
    assert judged_pools(judged) is None
    pools = bm25_pools(judged, candidates=5, questions=7)
    assert len(pools) == 7
    assert not pools.judged
    documents = np.concatenate([split.matrix("bm25").toarray() for split in judged.database])
    indptr, words, counts = judged.queries.counts
    assert judged.query_rows is not None
    for question, place in pools:
        row = judged.query_rows[question]
        own = slice(indptr[row], indptr[row + 1])
        scores = documents[:, words[own]] @ counts[own]
        best = np.sort(np.lexsort((np.arange(len(scores)), -scores))[:5])
        assert pools.documents[place].tolist() == best[scores[best] > 0].tolist()


def plain_figures(scores: list[int], right: list[bool], missing: int) -> tuple[float, float, float]:
    """Return P@1, MRR and MAP as means over all orders of the candidates that the scores allow."""
    figures = []
    for order in itertools.permutations(range(len(scores))):
        if any(scores[a] < scores[b] for a, b in itertools.pairwise(order)):
            continue
        ranks = [rank for rank, place in enumerate(order, 1) if right[place]]
        precisions = [found / rank for found, rank in enumerate(ranks, 1)]
        figures.append(
            (float(right[order[0]]), 1 / ranks[0] if ranks else 0.0, sum(precisions) / (len(ranks) + missing))
        )
    first, reciprocal, average = np.mean(figures, axis=0)
    return float(first), float(reciprocal), float(average)


def test_the_figures_are_means_over_the_orders_of_ties() -> None:
    rng = np.random.default_rng(1)
    sizes, scores, documents, answers, expected = [], [], [], [], []
    for _ in range(12):
        size = int(rng.integers(2, 6))
        own = rng.integers(0, 3, size).tolist()
        right = (rng.random(size) < 0.4).tolist()
        missing = int(rng.integers(0, 2))
        if not any(right) and not missing:
            missing = 1
        sizes.append(size)
        scores += own
        documents += range(10, 10 + size)
        answers.append(np.array([10 + place for place in range(size) if right[place]] + [99] * missing, np.int64))
        expected.append(plain_figures(own, right, missing))
    pools = Pools(np.arange(12), indptr_of(sizes), np.array(documents), answers, judged=True, left_out=0)
    found = pool_figures(pools, np.array(scores, float))
    assert [found[name] for name in ("pool_p_at_1", "pool_mrr", "pool_map")] == pytest.approx(np.mean(expected, axis=0))
    assert found["pool_mrr_worst"] < found["pool_mrr"] < found["pool_mrr_best"]


def test_a_reranker_scores_candidates_as_it_scores_one_question_with_one_document(answers_corpus) -> None:
    from texthash.corpora.prepared.batches import take

    method = fit(build("has", answers_corpus.shape, 16, SMALL), answers_corpus.train, TrainingConfig()).method.eval()
    judged = judged_queries(answers_corpus, "test")
    pools = pools_of(judged)
    scores = reranker_scores(pools, judged, method)
    offsets = np.cumsum([0, *(len(split) for split in judged.database)])
    assert judged.query_rows is not None
    for question, place in list(pools)[:5]:
        asked = take(judged.queries, judged.query_rows[[question]], method.encoding_inputs)
        for number, score in zip(pools.documents[place], scores[place], strict=True):
            split = int(np.searchsorted(offsets, number, "right")) - 1
            document = take(judged.database[split], np.array([number - offsets[split]]), method.encoding_inputs)
            assert float(method.scores(asked, method.token_codes(document))) == pytest.approx(score, abs=1e-5)


def test_an_evaluation_has_the_figures_of_the_pools(answers_corpus: PreparedCorpus) -> None:
    hasher = Hasher.of(
        fit(build("lsh", answers_corpus.shape, 16), answers_corpus.train, TrainingConfig()).method, answers_corpus
    )
    protocol = EvaluationProtocol(answers_corpus, EvaluationConfig(k=10, curve=(1, 10)))
    found = protocol.evaluate_validation(hasher)
    judged = judged_queries(answers_corpus, "validation")
    pools = pools_of(judged)
    assert found.metrics["pool_questions"] == 20
    expected = pool_figures(pools, hamming_scores(pools, found.query_codes, found.database_codes))
    assert found.metrics["pool_mrr"] == expected["pool_mrr"]
    assert pools.note in found.warnings


def test_a_model_is_selected_by_a_figure_of_the_pools(answers_corpus: PreparedCorpus) -> None:
    method = build("has", answers_corpus.shape, 16, SMALL).eval()
    config = EvaluationConfig(k=10, curve=(1, 10), selection_metric="pool_mrr")
    protocol = EvaluationProtocol(answers_corpus, config)
    selected = protocol.validator()(method)
    assert selected == protocol.evaluate_validation(Hasher.of(method, answers_corpus)).metrics["pool_mrr"]


def test_pools_are_those_of_questions(small_corpus: PreparedCorpus) -> None:
    with pytest.raises(UsageError, match="not a pair corpus"):
        pools_of(judged_queries(small_corpus, "validation"))
    with pytest.raises(UsageError, match="selection_metric=pool_mrr: there is no such metric"):
        EvaluationProtocol(small_corpus, EvaluationConfig(selection_metric="pool_mrr"))
