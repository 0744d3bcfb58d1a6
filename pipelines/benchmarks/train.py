"""Training of texthash beside the same networks with the dense input of public re-implementations.

The baseline converts each batch to a dense [B, V] matrix, multiplies it by a dense layer, computes a dense loss over
all words and updates with torch's default Adam. The losses of both are compared before the measurement, to ensure that
the networks are the same. Methods that learn from neighbours have no such baseline: their epoch is measured beside one
of NASH.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from benchmarks.reporting import JsonOption, report
from texthash.corpora.prepared.batches import Batch, batches
from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.errors import TexthashError
from texthash.methods.base import GradientStage, HashMethod, Progress
from texthash.methods.neighbouring import NeighbourMethod
from texthash.methods.registry import build, get_method, hyperparameters
from texthash.models.graphs import ensure_views
from texthash.nn.estimators import gaussian_sample, straight_through_bernoulli
from texthash.nn.priors import bernoulli_kl, gaussian_kl
from texthash.nn.schedules import linear_ramp
from texthash.nn.workers import Workers
from texthash.progress import log_line
from texthash.training.memory import keep_freed_memory

Loss = Callable[[HashMethod, Tensor, Progress], Tensor]


def command(
    corpus: Annotated[str, typer.Option(help="Directory of a prepared corpus.")],
    json: JsonOption = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="vdsh, nash, or a method that learns from neighbours; may be given several times."),
    ] = None,
    bits: Annotated[int, typer.Option(help="Bits of a code.")] = 32,
    documents: Annotated[int, typer.Option(min=100, help="Training documents in a measured epoch.")] = 5_000,
    hidden: Annotated[int, typer.Option(help="Width of the hidden layers.")] = 1_000,
    batch_size: Annotated[int, typer.Option(help="Documents in a batch.")] = 100,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of which the median is taken.")] = 3,
) -> None:
    """Time an epoch of VDSH and NASH against dense input and default Adam, of methods of neighbours against NASH."""
    names = method or ["vdsh", "nash"]
    for name in names:
        if name not in DENSE_LOSSES and not issubclass(get_method(name), NeighbourMethod):
            raise TexthashError(
                f"{name!r} has no dense baseline, and does not learn from neighbours.",
                f"choose one of {', '.join(DENSE_LOSSES)}, or a method that learns from neighbours, such as snuh.",
            )
    prepared = PreparedCorpus.open(corpus)
    documents = min(documents, len(prepared.train))
    rows: list[dict[str, Any]] = []
    for name in names:
        baseline = "dense_adam" if name in DENSE_LOSSES else "nash"
        if baseline == "dense_adam":
            untrained = build(name, prepared.shape, bits, _params(name, hidden))
            _check_same_loss(name, untrained, prepared.train, batch_size)
        log_line(f"{name}: timing {rounds} rounds of {documents} documents")
        setting = Setting(corpus, name, bits, documents, hidden, batch_size, threads)
        times = _alternate(setting, rounds, ("texthash", baseline))
        for engine, seconds in times.items():
            rows.append(
                {
                    "engine": engine,
                    "method": name,
                    "documents": documents,
                    "vocabulary": prepared.shape.vocabulary,
                    "hidden": hidden,
                    "batch_size": batch_size,
                    "threads": threads,
                    "seconds_per_epoch": seconds,
                    "times_dense": times[baseline] / seconds if baseline == "dense_adam" else None,
                    "times_nash": seconds / times[baseline] if baseline == "nash" else None,
                }
            )
    report("training, one epoch", rows, json)


@dataclass(frozen=True)
class Setting:
    """Method, corpus and amount of work of both engines."""

    corpus: str
    method: str
    bits: int
    documents: int
    hidden: int
    batch_size: int
    threads: int


def _params(method: str, hidden: int) -> dict[str, Any]:
    params = {"hidden": hidden, "dropout": 0.0}
    return {name: value for name, value in params.items() if name in hyperparameters(method)}


def _alternate(setting: Setting, rounds: int, names: tuple[str, str]) -> dict[str, float]:
    """Return the median seconds of an epoch of each engine; they alternate, each in a process of its own.

    Processes are separate because memory settings apply to a whole process. The first round does not count.
    """
    context = multiprocessing.get_context("spawn")
    engines = {
        engine: ProcessPoolExecutor(1, context, initializer=_prepare, initargs=(engine, setting)) for engine in names
    }
    times: dict[str, list[float]] = {engine: [] for engine in engines}
    try:
        for turn in range(rounds + 1):
            for engine, process in engines.items():
                seconds = process.submit(_timed_epoch).result()
                if turn:
                    times[engine].append(seconds)
    finally:
        for process in engines.values():
            process.shutdown()
    return {engine: statistics.median(taken) for engine, taken in times.items()}


_ENGINE: dict[str, Callable[[], None]] = {}


def _prepare(engine: str, setting: Setting) -> None:
    """Prepare the epoch that this process will run."""
    torch.set_num_threads(setting.threads)
    corpus = PreparedCorpus.open(setting.corpus)
    name = "nash" if engine == "nash" else setting.method
    method = build(name, corpus.shape, setting.bits, _params(name, setting.hidden))
    ensure_views(method, corpus.train)
    method.setup(corpus.train)
    if engine != "dense_adam":
        keep_freed_memory()  # as the training loop does
        _ENGINE["epoch"] = _sparse_epoch(method, corpus.train, setting.documents, setting.batch_size)
    else:
        loss = DENSE_LOSSES[setting.method]
        _ENGINE["epoch"] = _dense_epoch(method, loss, corpus.train, setting.documents, setting.batch_size)


def _timed_epoch() -> float:
    started = time.perf_counter()
    _ENGINE["epoch"]()
    return time.perf_counter() - started


def _epoch_batches(train: Split, method: HashMethod, documents: int, batch_size: int) -> Iterator[Batch]:
    seen = 0
    for batch in batches(train, batch_size, method.inputs, shuffle_seed=0):
        if seen + len(batch) > documents:
            return
        seen += len(batch)
        yield batch


def _sparse_epoch(method: HashMethod, train: Split, documents: int, batch_size: int) -> Callable[[], None]:
    stage = next(stage for stage in method.stages() if isinstance(stage, GradientStage))
    optimizers = stage.optimizers()

    def epoch() -> None:
        progress = Progress(step=0, total=documents // batch_size, workers=Workers())
        for batch in _epoch_batches(train, method, documents, batch_size):
            stage.step(batch, progress, optimizers)
            progress.step += 1

    return epoch


def _dense_epoch(method: HashMethod, loss: Loss, train: Split, documents: int, batch_size: int) -> Callable[[], None]:
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3)

    def epoch() -> None:
        progress = Progress(step=0, total=documents // batch_size)
        for batch in _epoch_batches(train, method, documents, batch_size):
            optimizer.zero_grad()
            loss(method, _dense(batch, method.shape.vocabulary), progress).backward()
            optimizer.step()
            progress.step += 1

    return epoch


def _check_same_loss(name: str, method: HashMethod, train: Split, batch_size: int) -> None:
    batch = next(iter(batches(train, batch_size, method.inputs)))
    progress = [Progress(step=1, total=2, generator=torch.Generator().manual_seed(0)) for _ in range(2)]
    sparse = sum(method.loss(batch, progress[0]).values())
    dense = DENSE_LOSSES[name](method, _dense(batch, method.shape.vocabulary), progress[1])
    torch.testing.assert_close(torch.as_tensor(sparse), dense, rtol=1e-4, atol=1e-3)


def _dense(batch: Batch, words: int) -> Tensor:
    x = torch.zeros(len(batch), words)
    x[batch.document, batch.indices] = batch.values
    return x


def _dense_hidden(method: Any, x: Tensor) -> Tensor:
    hidden = torch.relu(x @ method.encoder.first.weight + method.encoder.first.bias)
    for layer in method.encoder.rest:
        hidden = torch.relu(layer(hidden))
    return hidden


def _dense_reconstruction(logits: Tensor, x: Tensor) -> Tensor:
    return -(nn.functional.log_softmax(logits, dim=1) * (x > 0)).sum(dim=1).mean()


def _vdsh(method: Any, x: Tensor, progress: Progress) -> Tensor:
    hidden = _dense_hidden(method, x)
    mean, log_variance = method.mean(hidden), torch.sigmoid(method.log_variance(hidden))
    z = gaussian_sample(mean, log_variance, progress.generator)
    weight = linear_ramp(progress.fraction, 0.0, method.kl_weight, over=method.kl_ramp)
    return _dense_reconstruction(method.decoder(z), x) + weight * gaussian_kl(mean, log_variance).mean()


def _nash(method: Any, x: Tensor, progress: Progress) -> Tensor:
    logits = method.logits(_dense_hidden(method, x))
    z = straight_through_bernoulli(torch.sigmoid(logits), progress.generator, method.stochastic)
    weight = linear_ramp(progress.fraction, 0.0, method.kl_weight, over=method.kl_ramp)
    return _dense_reconstruction(method.decoder(z), x) + weight * bernoulli_kl(logits).mean()


DENSE_LOSSES: dict[str, Loss] = {"vdsh": _vdsh, "nash": _nash}
