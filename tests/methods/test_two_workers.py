"""Losses that couple the documents of a batch: two workers have the terms and gradients that one has of the whole."""

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from texthash.corpora.batches import batches
from texthash.corpora.dataset import PreparedCorpus
from texthash.methods.base import Progress, sum_terms
from texthash.methods.registry import build

BITS, BATCH, COUPLED = 16, 64, ["ammi", "mash"]


def _work(name, path, rank=0, workers=1):
    """The terms of two batches, one after the other, and the gradient of the second."""
    corpus = PreparedCorpus.open(path)
    method = build(name, corpus.shape, BITS).eval()
    method.attach(corpus.train)
    found = {}
    for step, batch in enumerate(batches(corpus.train, BATCH, shuffle_seed=0, rank=rank, workers=workers)):
        if step == 2:
            break
        progress = Progress(step=50 + step, total=60)
        terms = method.loss(batch, progress)
        found |= {f"{key} {step}": progress.workers.mean(value) for key, value in terms.items()}
        method.zero_grad()
        sum_terms(terms).backward()
    progress.workers.average_gradients(p for p in method.parameters() if p.grad is not None)
    return found | {key: p.grad for key, p in method.named_parameters() if p.grad is not None}


def _worker(rank, path, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for name in COUPLED:
        found = _work(name, path, rank, 2)
        if rank == 0:
            torch.save(found, f"{folder}/{name}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def together(small_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    spawn(_worker, (small_corpus.path, str(folder)), nprocs=2)
    return folder


@pytest.mark.parametrize("name", COUPLED)
def test_two_workers_have_the_loss_of_one(name, small_corpus, together):
    theirs, ours = torch.load(together / f"{name}.pt"), _work(name, small_corpus.path)
    assert theirs.keys() == ours.keys()
    for key in ours:
        torch.testing.assert_close(theirs[key], ours[key], rtol=1e-3, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")
