"""Two workers have the terms and gradients that one has of the whole batch, in losses that couple its documents too.

What is drawn at random is given to the documents and their words, not to the workers, so that the figures can be equal.
"""

import math
from dataclasses import replace
from typing import get_args

import pytest
import torch
import torch.distributed as dist
from torch.nn.functional import dropout
from torch.overrides import TorchFunctionMode

from tests.methods.narrow import SMALLEST, narrowed
from tests.methods.test_methods import ITERATIVE
from tests.methods.two_processes import corpus_for, in_two_processes, shape_for
from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches
from texthash.corpora.prepared.labelled import partly_labelled
from texthash.methods.base import GradientStage, Progress
from texthash.methods.dwae import Divergence
from texthash.methods.registry import build
from texthash.training.loop import fit

BITS, BATCH = 16, 64
EPOCH_BATCH = 256  # few steps: what is compared is the same in each
_SMALLEST = 0.1  # terms and gradients below are compared as if they were of this size: they are differences of larger
CASES = {
    **{name: (name, {}) for name in ITERATIVE if name not in ("daba", "dwae")},
    **{f"dwae {name}": ("dwae", {"divergence": name}) for name in get_args(Divergence)},
    **{f"daba {name}": ("daba", {"distance": name}) for name in ("assigned", "componentwise")},
}


class NoiseOfDocuments(TorchFunctionMode):
    """Draws for all rows of the global batch, of which a worker gets those of its own.

    A row is what the first dimension of the draw counts: documents, copies of them, words.
    """

    def __init__(self):
        self.drawn = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.bernoulli:
            return (self.draw(torch.rand, args[0].shape) < args[0]).to(args[0].dtype)
        if function is dropout and kwargs.get("training", True):
            values, p = args[0], kwargs.get("p", args[1] if len(args) > 1 else None)
            return values * (self.draw(torch.rand, values.shape) >= p) / (1 - p)
        if function not in (torch.rand, torch.randn, torch.randint):
            return function(*args, **kwargs)
        bounds = args[: next((i for i, a in enumerate(args) if isinstance(a, tuple)), 0)]
        shape = args[len(bounds)] if isinstance(args[len(bounds)], tuple) else args
        return self.draw(function, shape, *bounds, **{k: v for k, v in kwargs.items() if k != "generator"})

    def draw(self, function, shape, *bounds, **kwargs):
        rows = [shape[0]]
        if dist.is_initialized():
            rows = [None] * dist.get_world_size()
            dist.all_gather_object(rows, shape[0])
        self.drawn += 1
        seeded = torch.Generator().manual_seed(self.drawn)
        whole = function(*bounds, (sum(rows), *shape[1:]), generator=seeded, **kwargs)
        return whole.split(rows)[dist.get_rank() if dist.is_initialized() else 0]


def _build(case, corpus):
    name, params = CASES[case]
    return build(name, shape_for(name, corpus), BITS, {**narrowed(name, SMALLEST), **params}, seed=3)


def _gradient(parameter):
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _steps(case, corpus, rank=0, workers=1):
    """Of two global batches in each gradient stage: the terms, and the averaged gradients; no weight moves."""
    whole = corpus_for(CASES[case][0], corpus).train
    train = partly_labelled(whole, 0.3, seed=0)  # how many of them have labels differs between the workers
    method, found = _build(case, corpus), {}
    method.setup(train)
    for stage in method.stages():
        if not isinstance(stage, GradientStage):
            stage.fit(train)
            continue
        still = {
            name: torch.optim.SGD([p for group in o.param_groups for p in group["params"]], lr=0.0)
            for name, o in stage.optimizers().items()
        }
        noise = NoiseOfDocuments()
        parts = batches(train, BATCH, method.inputs, 0, rank, workers)
        for step, batch in zip((52, 53), parts, strict=False):  # DABA has both kinds of steps in these
            progress = Progress(step=step, total=60)
            with noise:
                terms = stage.step(batch, progress, still)
            of_step = {name: progress.workers.mean(value) for name, value in terms.items()}
            of_step |= {name: _gradient(p) for name, p in method.named_parameters()}
            found |= {f"{stage.name}, step {step}, {name}": value.detach().clone() for name, value in of_step.items()}
            method.zero_grad()
    return found


def _epoch(case, corpus):
    """The terms of a whole epoch of each stage, by the training loop."""
    method = _build(case, corpus)
    stages, noise = method.stages(), NoiseOfDocuments()

    def noisy(stage):
        def step(*arguments):
            with noise:
                return stage.step(*arguments)

        return replace(stage, step=step)

    method.stages = lambda: [noisy(stage) if isinstance(stage, GradientStage) else stage for stage in stages]
    train = corpus_for(CASES[case][0], corpus).train
    history = fit(method, train, TrainingConfig(epochs=1, batch_size=EPOCH_BATCH, seed=3)).history
    return [(report.stage, report.terms) for report in history]


def _work(case, corpus, rank=0, workers=1):
    return _steps(case, corpus, rank, workers), _epoch(case, corpus)


@pytest.fixture(scope="module")
def together(small_corpus, pair_corpus, encoded_shape, tmp_path_factory):
    return in_two_processes(_work, CASES, small_corpus, tmp_path_factory.mktemp("workers"))


@pytest.fixture(scope="module")
def alone(small_corpus, pair_corpus, encoded_shape):
    return {case: _work(case, small_corpus) for case in CASES}


def rounding(corpus, batch=BATCH):
    """Bound of the relative difference of two orders of a sum over the words of a batch, in float32.

    n terms that are rounded independently differ by about sqrt(n) units in the last place, relative to the sum of their
    magnitudes; four times that is far out for any processor, and far below what a part of the batch would make.
    """
    terms = batch * corpus.shape.vocabulary
    return 4 * math.sqrt(terms) * torch.finfo(torch.float32).eps / 2


@pytest.mark.parametrize("case", CASES)
def test_two_workers_have_the_terms_and_gradients_of_one(case, alone, together, small_corpus):
    """An entry of a gradient is a sum whose terms cancel, so it is compared by the size of the gradient's largest."""
    theirs, ours = together[case][0], alone[case][0]
    assert theirs.keys() == ours.keys()
    bound = rounding(small_corpus)
    for key in ours:
        size = max(float(ours[key].abs().max()), _SMALLEST)
        torch.testing.assert_close(
            theirs[key], ours[key], rtol=bound, atol=bound * size, msg=lambda m, key=key: f"{key}: {m}"
        )


@pytest.mark.parametrize("case", CASES)
def test_two_workers_train_as_one(case, alone, together, small_corpus):
    """With the noise of the documents the same, every term of an epoch is, to the rounding of sums: each step adds its
    own to the weights of the next."""
    bound = rounding(small_corpus, EPOCH_BATCH) * -(-len(small_corpus.train) // EPOCH_BATCH)
    theirs, ours = together[case][1], alone[case][1]
    assert [stage for stage, _ in theirs] == [stage for stage, _ in ours]
    for (stage, terms), (_, expected) in zip(theirs, ours, strict=True):
        assert terms == pytest.approx(expected, rel=bound, abs=bound * _SMALLEST), stage
