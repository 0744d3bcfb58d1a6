"""Two workers have the terms and gradients that one has of the whole batch, in losses that couple its documents too.

What is drawn at random is given to the documents, not to the workers, so that the figures can be equal.
"""

from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn
from torch.overrides import TorchFunctionMode

from texthash.corpora.batches import batches
from texthash.corpora.dataset import PreparedCorpus
from texthash.methods.base import Progress, sum_terms
from texthash.methods.dwae import DIVERGENCES
from texthash.methods.registry import build

BITS, BATCH = 16, 64
CASES = {
    **{name: (name, {}) for name in ("ammi", "bmsh", "corrsh", "gmsh", "hierhash", "mash", "nash_dn", "smash")},
    **{name: (name, {}) for name in ("doc2hash_s", "nash_dn_s", "smash_s", "vdsh_s", "vdsh_sp", "wish_s")},
    **{f"dwae {name}": ("dwae", {"divergence": name}) for name in DIVERGENCES},
    **{f"daba {name}": ("daba", {"distance": name, "keep": 1.0}) for name in ("assigned", "componentwise")},
}


class NoiseOfDocuments(TorchFunctionMode):
    """Draws for all documents of the global batch, of which a worker gets those of its own."""

    def __init__(self, rank, workers):
        self.rank, self.workers, self.drawn = rank, workers, 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function not in (torch.rand, torch.randn, torch.randint):
            return function(*args, **(kwargs or {}))
        bounds = args[: next((i for i, a in enumerate(args) if isinstance(a, tuple)), 0)]
        shape = args[len(bounds)] if isinstance(args[len(bounds)], tuple) else args
        self.drawn += 1
        told = {**(kwargs or {}), "generator": torch.Generator().manual_seed(self.drawn)}
        draws = function(*bounds, (shape[0] * self.workers, *shape[1:]), **told)
        return draws[shape[0] * self.rank : shape[0] * (self.rank + 1)]


def _terms(method, batch, progress):
    if method.card.name == "daba":
        return {
            "reconstruction": method.reconstruction(batch, progress),
            "distance": method.mismatch(batch, progress),
        }
    return method.loss(batch, progress)


def _work(case, path, rank=0, workers=1):
    """The terms of two batches, one after the other, and the gradient of the second."""
    corpus = PreparedCorpus.open(path)
    train = corpus.train.partly_labelled(0.3, seed=0)  # how many of them have labels differs between the workers
    name, params = CASES[case]
    method = build(name, corpus.shape, BITS, params).eval()
    method.attach(train)
    if name.startswith("smash"):  # which words are masked is drawn word by word
        method.masked = lambda batch, progress: replace(batch, values=batch.values * (batch.indices % 3 > 0))
    found, needs = {}, method.card.needs
    for step, batch in enumerate(batches(train, BATCH, "tfidf", needs, 0, rank, workers, max_length=64)):
        if step == 2:
            break
        progress = Progress(step=50 + step, total=60)
        with NoiseOfDocuments(rank, workers):
            terms = _terms(method, batch, progress)
        found |= {f"{key} {step}": progress.workers.mean(value) for key, value in terms.items()}
        method.zero_grad()
        sum_terms(terms).backward()
    progress.workers.average_gradients(p for p in method.parameters() if p.grad is not None)
    return found | {key: p.grad for key, p in method.named_parameters() if p.grad is not None}


def _worker(rank, path, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    for case in CASES:
        found = _work(case, path, rank, 2)
        if rank == 0:
            torch.save(found, f"{folder}/{case}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def together(small_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    spawn(_worker, (small_corpus.path, str(folder)), nprocs=2)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_workers_have_the_loss_of_one(case, small_corpus, together):
    theirs, ours = torch.load(together / f"{case}.pt"), _work(case, small_corpus.path)
    assert theirs.keys() == ours.keys()
    for key in ours:
        torch.testing.assert_close(theirs[key], ours[key], rtol=1e-3, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")
