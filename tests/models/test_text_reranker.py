"""Re-rankers of raw texts: the scores of a method's own batches, and errors with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import texthash
from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import text_batch
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import TexthashError, UsageError
from texthash.index.rescoring import reranked
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.models.text_reranker import BitsReranker, CrossEncoder, open_reranker
from texthash.training.loop import fit

TEXTS = ["sort an array of numbers", "read a table from a file", "sort the rows of a table", "zzzz"]


@pytest.fixture(scope="session")
def reranker_folder(pair_corpus: PreparedCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of has, of 16 bits a word."""
    method = build("has", pair_corpus.shape, 16, {"embedding": 16, "filters": 8, "length": 24, "epochs": 1})
    fitted = fit(method, pair_corpus.train, TrainingConfig(batch_size=64)).method
    return Hasher.of(fitted, pair_corpus).save(tmp_path_factory.mktemp("models") / "has-16")


def test_texts_have_the_scores_of_the_method(reranker_folder: Path) -> None:
    hasher = Hasher.load(reranker_folder)
    found = open_reranker(reranker_folder).scores("sort a table", TEXTS)
    method = hasher.method
    for text, score in zip(TEXTS, found, strict=True):
        asked, document = (
            text_batch([one], hasher.analyzer, hasher.vocabulary, method.encoding_inputs)
            for one in ("sort a table", text)
        )
        assert float(method.scores(asked, method.token_codes(document))) == pytest.approx(float(score), abs=1e-6)
    assert BitsReranker(hasher).name == "has-16"
    assert len(BitsReranker(hasher).scores("sort", [])) == 0


def test_an_index_is_searched_in_the_order_of_the_reranker(reranker_folder: Path, small_hasher: Path) -> None:
    index = texthash.Index(texthash.load(small_hasher), TEXTS)
    reranker = open_reranker(reranker_folder)
    plain = index.search("sort a table", k=4, mode="keyword")
    found = index.search("sort a table", k=2, mode="keyword", rerank=reranker)
    scores = reranker.scores("sort a table", plain.texts)
    assert found.ids == [plain.ids[place] for place in np.argsort(-scores, kind="stable")[:2]]
    assert found.scores is not None
    assert found.scores.tolist() == sorted(scores.tolist(), reverse=True)[:2]
    by_folder = index.search(["sort a table"], k=2, mode="keyword", rerank=str(reranker_folder))
    by_model = index.search(["sort a table"], k=2, mode="keyword", rerank=texthash.load(reranker_folder))
    assert by_folder[0].ids == by_model[0].ids == found.ids


def test_hits_of_equal_score_keep_their_order_and_those_without_one_come_last() -> None:
    given = {"equal": 0.1, "best": 0.5, "undecided": np.nan, "too": 0.1}
    read: list[str] = []

    def scores(question: str, texts: Sequence[str]) -> np.ndarray:
        read.extend(texts)
        return np.array([given[text] for text in texts])

    order, found = reranked(scores, "a question", ["equal", None, "best", " ", "undecided", "too"])
    assert order.tolist() == [2, 0, 5, 1, 3, 4]
    assert read == ["equal", "best", "undecided", "too"]
    np.testing.assert_array_equal(found, np.float32([0.1, np.nan, 0.5, np.nan, np.nan, 0.1]))


def test_an_index_puts_documents_without_a_text_last(small_hasher: Path) -> None:
    """Wherever hits are re-ranked, one without a text has no score."""

    class ByLength:
        name = "by-length"

        def scores(self, question: str, texts: Sequence[str]) -> np.ndarray:
            return np.array([-float(len(text)) for text in texts], np.float32)

    index = texthash.Index(
        texthash.load(small_hasher), ["sort a long list", "", "sort"], titles=["", "sort sort", ""], ids=["a", "b", "c"]
    )
    assert index.search("sort", k=3, mode="keyword").ids != ["c", "a", "b"]
    found = index.search("sort", k=3, mode="keyword", rerank=ByLength())
    assert found.ids == ["c", "a", "b"]
    assert found.scores is not None
    np.testing.assert_array_equal(found.scores, [-4.0, -16.0, np.nan])


def test_what_does_not_rerank_is_refused(small_hasher: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="itq does not re-rank") as error:
        open_reranker(small_hasher)
    assert "cross-encoder:" in error.value.remedy
    with pytest.raises(TexthashError, match="nothing"):
        open_reranker("nothing", tmp_path)
    with pytest.raises(UsageError, match="is empty"):
        open_reranker(" ")


def test_a_cross_encoder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    with pytest.raises(UsageError, match="cannot be opened"):
        CrossEncoder(str(tmp_path / "nothing"))
