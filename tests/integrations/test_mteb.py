"""A model as an encoder of MTEB: one retrieval task of local data, run by the library itself."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mteb", reason="the extra mteb is not installed")

import mteb
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.types import PromptType

import texthash
from texthash.integrations.mteb import TexthashEncoder


class OwnRetrieval(AbsTaskRetrieval):
    """Known-item search: the first half of each text is a query for the whole of it."""

    metadata = TaskMetadata(
        name="OwnRetrieval",
        dataset={"path": "own/own", "revision": "1"},
        description="Halves of documentation strings.",
        type="Retrieval",
        category="t2t",
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
        reference=None,
        date=("2024-01-01", "2024-01-02"),
        domains=["Programming"],
        task_subtypes=[],
        license="not specified",
        annotations_creators="derived",
        dialect=[],
        modalities=["text"],
        sample_creation="found",
        bibtex_citation="",
    )
    texts: list[str] = []

    def load_data(self, num_proc: int | None = None, **kwargs: object) -> None:
        ids = [f"d{place}" for place in range(len(self.texts))]
        self.dataset = {
            "default": {
                "test": {
                    "corpus": Dataset.from_dict({"id": ids, "text": self.texts, "title": [""] * len(ids)}),
                    "queries": Dataset.from_dict(
                        {"id": [f"q{n}" for n in range(30)], "text": [halved(text) for text in self.texts[:30]]}
                    ),
                    "relevant_docs": {f"q{n}": {f"d{n}": 1} for n in range(30)},
                    "top_ranked": None,
                }
            }
        }
        self.data_loaded = True


def halved(text: str) -> str:
    return text[: len(text) // 2]


@pytest.mark.parametrize("asymmetric", [False, True])
def test_a_task_is_run_by_the_library(model, texts: list[str], tmp_path, asymmetric: bool) -> None:
    OwnRetrieval.texts = texts
    encoder = TexthashEncoder(model, asymmetric=asymmetric)
    result = mteb.evaluate(encoder, [OwnRetrieval()], cache=None, show_progress_bar=False)
    (scores,) = result.task_results[0].scores["test"]
    figures = texthash.evaluate(
        model,
        {f"q{n}": halved(text) for n, text in enumerate(texts[:30])},
        {f"d{n}": text for n, text in enumerate(texts)},
        {f"q{n}": [f"d{n}"] for n in range(30)},
        k=[10],
    )
    if asymmetric:
        assert 0 < scores["ndcg_at_10"] <= 1
    else:  # an order of equal distances: between the worst and the best of all
        assert figures["ndcg_at_10"].worst - 1e-4 <= scores["ndcg_at_10"] <= figures["ndcg_at_10"].best + 1e-4
    kind = "asymmetric" if asymmetric else "binary"
    assert encoder.mteb_model_meta.name == f"texthash/itq-32-{kind}"


def test_embeddings_are_codes(model, texts: list[str]) -> None:
    encoder = TexthashEncoder(model)
    found = encoder.encode([{"text": texts[:3]}, {"text": texts[3:5]}], prompt_type=PromptType.query)
    codes = model.encode(texts[:5], role="query")
    assert np.array_equal(found, np.unpackbits(codes, axis=1) * 2.0 - 1)
    distances = np.bitwise_count(codes[:, None] ^ codes[None]).sum(axis=2)
    assert np.allclose(encoder.similarity(found, found), 1 - 2 * distances / model.bits)
    assert np.allclose(
        encoder.similarity_pairwise(found, found[::-1]), (1 - 2 * distances / model.bits)[range(5), range(4, -1, -1)]
    )
    margins = model.query_values(model.read(texts[:2], "query").values)
    queries = TexthashEncoder(model, asymmetric=True).encode([{"text": texts[:2]}], prompt_type=PromptType.query)
    assert np.allclose(queries, margins / np.abs(margins).mean(axis=1, keepdims=True), rtol=1e-5)
    assert np.array_equal(queries > 0, found[:2] > 0)


def test_a_model_of_vectors_needs_an_embedder() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 16))
    model = texthash.train("itq", vectors=vectors, bits=16)
    encoder = TexthashEncoder(model, "me/mine", embed=lambda texts: vectors[[int(text) for text in texts]])
    found = encoder.encode([{"text": ["3", "7"]}])
    assert np.array_equal(found > 0, np.unpackbits(model.encode_vectors(vectors[[3, 7]]), axis=1) > 0)
