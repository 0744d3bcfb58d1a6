"""MASH and SMASH: similarities handed down, and balance over documents that the batch does not hold."""

import copy
from dataclasses import replace

import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.training.checkpoints import LocalCheckpointer
from texthash.training.loop import fit

BITS = 16
EARLY, LATE = Progress(0, 100), Progress(90, 100)


@pytest.fixture
def method(small_corpus):
    made = build("mash", small_corpus.shape, BITS).eval()
    made.setup(small_corpus.train)
    return made


@pytest.fixture
def batch(small_corpus):
    return next(iter(batches(small_corpus.train, 32)))


def test_balance_depends_on_documents_that_the_batch_does_not_hold(method, batch):
    before = method.loss(batch, LATE)
    absent = int(batch.rows.max()) + 1
    method.memory.write(torch.tensor([absent]), torch.tensor([[1.0] * 8 + [-1.0] * 8]), LATE.step)
    after = method.loss(batch, LATE)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"bit_balance", "decorrelation"}


def test_balance_counts_from_a_share_of_training_on_and_is_not_idle(method, batch):
    assert method.loss(batch, EARLY).keys() == {"reconstruction", "relevance"}
    late = method.loss(batch, LATE)
    (late["bit_balance"] + late["decorrelation"]).backward()
    assert float(method.short.weight.grad.abs().max()) > 0


def test_the_memory_holds_the_signs_of_the_documents_seen(method, batch):
    method.loss(batch, EARLY)
    assert torch.equal(method.memory.signs[batch.rows], method.activations(batch).sign().to(torch.int8))
    assert int((method.memory.seen >= 0).sum()) == len(batch)


def test_the_noisy_copies_hold_some_words_and_tell_the_clean_ones(small_corpus, batch):
    method = build("smash", small_corpus.shape, BITS, {"noise": 0.6}).eval()
    method.setup(small_corpus.train)
    masked = method.masked(batch, Progress(0, 100))
    left = masked.values > 0
    assert torch.equal(masked.values[left], batch.values[left])
    assert 0.25 < float(left.float().mean()) < 0.4
    assert torch.equal(masked.indices, batch.indices)


def test_copies_that_are_all_alike_weigh_the_same(small_corpus, batch, monkeypatch):
    method = build("smash", small_corpus.shape, BITS).eval()
    method.setup(small_corpus.train)
    monkeypatch.setattr(method, "masked", lambda batch, progress: batch)
    terms = method.loss(batch, EARLY)
    torch.testing.assert_close(terms["denoising"], terms["reconstruction"] / 3)


def test_a_copy_weighs_by_its_likeness_to_its_own_document(small_corpus, batch, monkeypatch):
    """The code lays the copies of a batch out in the wrong order, and so mixes up documents and features."""
    method = build("smash", small_corpus.shape, BITS).eval()
    method.setup(small_corpus.train)
    with torch.no_grad():
        method.long.weight.mul_(3.0)  # copies that are unlike
    copies = [replace(batch, values=batch.values * (batch.indices % divisor > 0)) for divisor in (2, 3, 5)]
    drawn = iter(copies)
    monkeypatch.setattr(method, "masked", lambda batch, progress: next(drawn))
    found = method.loss(batch, EARLY)["denoising"]
    with torch.no_grad():
        _, long = method.codes(batch)
        expected = torch.zeros(())
        for b in range(len(batch)):
            of_copies = [method.codes(copy) for copy in copies]
            likeness = torch.stack([long[b] @ noisy_long[b] for _, noisy_long in of_copies])
            weights = torch.softmax(likeness, dim=0)
            for weight, (short, _) in zip(weights, of_copies, strict=True):
                log_p = torch.log_softmax(method.decoder(short)[b], dim=0)
                own = batch.document == b
                expected -= weight * (batch.values[own] * log_p[batch.indices[own]]).sum() / 3 / len(batch)
    assert float((weights - 1 / 3).abs().max()) > 0.01, "alike copies would show nothing"
    torch.testing.assert_close(found.detach(), expected)


def test_a_saved_model_holds_no_memory_of_the_training_documents_and_a_checkpoint_does(small_corpus, tmp_path):
    training = TrainingConfig(epochs=1, batch_size=64)
    checkpointer = LocalCheckpointer(tmp_path / "run")
    method = fit(
        build("mash", small_corpus.shape, BITS), small_corpus.train, training, checkpointer=checkpointer
    ).method
    assert "memory.signs" in checkpointer.load()["method"]
    hasher = Hasher.of(copy.deepcopy(method), small_corpus)
    again = Hasher.load(hasher.save(tmp_path / "model"))
    assert not [key for key in again.method.state_dict() if key.startswith("memory")]
    assert (again.encode_split(small_corpus.validation) == hasher.encode_split(small_corpus.validation)).all()
    more = training.model_copy(update={"epochs": 2, "resume": True})
    resumed = fit(build("mash", small_corpus.shape, BITS), small_corpus.train, more, checkpointer=checkpointer)
    assert [report.epoch for report in resumed.history if report.stage == "train"] == [1, 2]
