"""Codes as a quantisation step of sentence-transformers, and a loss under its real trainer."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("sentence_transformers", reason="the extra text is not installed")

from sentence_transformers import SentenceTransformer
from sentence_transformers.util.quantization import quantize_embeddings as plain_quantization

import texthash
from tests.corpora.embeddings.conftest import save_transformer
from texthash.errors import UsageError
from texthash.integrations.sentence_transformers import BinaryCodesLoss, codes_of, quantize_embeddings

WORDS = ("the", "of", "data", "array", "frame", "index")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    folder: Path = save_transformer(tmp_path_factory.mktemp("encoder") / "random", 16, WORDS)
    return SentenceTransformer(str(folder), device="cpu")


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)


def test_the_form_is_that_of_the_library(vectors: np.ndarray) -> None:
    signs = texthash.train("sign", vectors=vectors, bits=16, params={"center": False})
    for precision in ("ubinary", "binary"):
        expected = plain_quantization(vectors, precision=precision)
        for given in (vectors, torch.from_numpy(vectors), list(torch.from_numpy(vectors)), vectors.tolist()):
            found = quantize_embeddings(given, signs, precision)
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected)


def test_nested_codes_are_cut(vectors: np.ndarray) -> None:
    nested = texthash.train("pcah", vectors=vectors, bits=16)
    whole = quantize_embeddings(vectors, nested)
    assert np.array_equal(quantize_embeddings(vectors, nested, bits=8), whole[:, :1])
    rotated = texthash.train("itq", vectors=vectors, bits=16)
    with pytest.raises(UsageError, match="code of itq are no code"):
        quantize_embeddings(vectors, rotated, bits=8)
    with pytest.raises(UsageError, match="'int8'"):
        quantize_embeddings(vectors, rotated, "int8")  # type: ignore[arg-type]


def test_the_loss_is_its_formula(encoder: SentenceTransformer) -> None:
    queries = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1]])
    documents = torch.tensor([[1.0, 1, -1, 1], [1, -1, 1, -1], [-1, 1, 1, 1]])
    loss = BinaryCodesLoss(encoder, widths=[2, 4], scale=3.0, balance=0.5, decorrelation=0.25)
    ranking = []
    for width in (2, 4):
        for row, query in enumerate(queries):
            scores = [3.0 * float(query[:width] @ document[:width]) / width for document in documents]
            ranking.append(math.log(sum(map(math.exp, scores))) - scores[row])
    codes = torch.cat([queries, documents]).numpy()
    balance = float((codes.mean(axis=0) ** 2).sum()) / 4
    correlation = float(((codes.T @ codes / 5 - np.eye(4)) ** 2).sum()) / 16
    expected = sum(ranking) / 4 + 0.5 * balance + 0.25 * correlation
    assert loss.of_codes(queries, documents).item() == pytest.approx(expected, rel=1e-6)


def test_codes_do_not_depend_on_the_length_of_embeddings() -> None:
    embeddings = torch.randn(5, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.equal(codes_of(embeddings), codes_of(7 * embeddings))
    assert torch.equal(codes_of(embeddings).sign(), torch.where(embeddings > 0, 1.0, -1.0))
    codes_of(embeddings)[:, 0].sum().backward()
    assert embeddings.grad is not None
    assert embeddings.grad.abs().sum() > 0


@pytest.mark.parametrize("options", [{"widths": [32]}, {"widths": []}, {"scale": 0}, {"balance": -1}])
def test_arguments_are_checked(encoder: SentenceTransformer, options: dict) -> None:
    with pytest.raises(UsageError):
        BinaryCodesLoss(encoder, **options)


def test_the_trainer_takes_the_loss(encoder: SentenceTransformer, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra sentencetransformers is not installed")
    pytest.importorskip("accelerate", reason="the extra sentencetransformers is not installed")
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    pairs = {
        "anchor": ["the data", "the array", "of frame", "index of"] * 4,
        "positive": ["data of", "array of", "the frame", "the index"] * 4,
    }
    loss = BinaryCodesLoss(encoder, widths=[8, 16])
    before = encoder[0].auto_model.embeddings.word_embeddings.weight.detach().clone()
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=8, report_to="none", use_cpu=True
    )
    trainer = SentenceTransformerTrainer(
        model=encoder, args=arguments, train_dataset=datasets.Dataset.from_dict(pairs), loss=loss
    )
    result = trainer.train()
    assert result.global_step == 2
    assert math.isfinite(result.training_loss)
    assert not torch.equal(before, encoder[0].auto_model.embeddings.word_embeddings.weight)
    codes = encoder.encode(pairs["anchor"], precision="ubinary")
    assert codes.shape == (16, 2)
    assert np.array_equal(codes, np.packbits(encoder.encode(pairs["anchor"]) > 0, axis=1))
