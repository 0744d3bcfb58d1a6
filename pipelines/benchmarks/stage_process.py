"""One stage of the way from text to a service, in a process of its own, with what its steps take.

Processor time and bytes are those of this process (``/proc/self/io``: what it asked of files, cached or not; files that
are mapped into memory are not counted). Memory is the peak of what no file backs, the process' own start included.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from texthash.config import CorpusConfig, Edition, EvaluationConfig, IndexConfig, SplitRule, TrainingConfig
from texthash.executor import LocalExecutor, Task
from texthash.paths import StateDir

_SAMPLE_SECONDS = 0.02
Takes = dict[str, float]


@dataclass
class Meter:
    """What this process takes, by step.

    Attributes:
        steps: ``cpu`` in seconds, ``read`` and ``written`` in bytes, of each step.
        memory: Peak of anonymous memory in each step, in bytes, and ``peak``, that of all.
        held: Memory of what is open, in bytes.
    """

    steps: dict[str, Takes] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=lambda: {"peak": 0})
    held: dict[str, int] = field(default_factory=dict)
    _within: str = "peak"

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add what the block takes to a step."""
        before, outer, self._within = _taken(), self._within, name
        try:
            yield
        finally:
            self.add(name, {key: value - before[key] for key, value in _taken().items()})
            self.sample()
            self._within = outer

    def add(self, name: str, takes: Takes) -> None:
        """Add to a step."""
        so_far = self.steps.setdefault(name, dict.fromkeys(takes, 0.0))
        for key, value in takes.items():
            so_far[key] += value

    def rest(self, name: str, whole: Takes) -> None:
        """Make a step of what no other step of this process took."""
        self.add(name, {key: value - sum(step[key] for step in self.steps.values()) for key, value in whole.items()})

    def watch(self, ended: threading.Event) -> None:
        """Keep the peak of memory until an event is set."""
        while not ended.wait(_SAMPLE_SECONDS):
            self.sample()

    def sample(self) -> None:
        """Look at the memory now."""
        now = _anonymous()
        for name in ("peak", self._within):
            self.memory[name] = max(self.memory.get(name, 0), now)


class Metered(LocalExecutor):
    """Executor of one process that makes a step of each function's tasks."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        object.__setattr__(self, "meter", meter)

    meter: Meter

    def map(self, function: Callable[..., Any], tasks: Iterable[Task], **options: Any) -> Iterator[Any]:
        name = function.func.__name__ if isinstance(function, partial) else function.__name__
        yield from self._each(name, function, tasks)

    def map_with(self, make: Callable[[], Callable[..., Any]], tasks: Iterable[Task], **options: Any) -> Iterator[Any]:
        yield from self._each("encode", make(), tasks)

    def _each(self, name: str, function: Callable[..., Any], tasks: Iterable[Task]) -> Iterator[Any]:
        for task in tasks:
            with self.meter.step(name):
                result = function(**task)
            yield result


def _anonymous() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not tell RssAnon")


def _taken() -> Takes:
    counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines())
    return {"cpu": time.process_time(), "read": float(counts["rchar"]), "written": float(counts["wchar"])}


def _configured(path: str) -> CorpusConfig:
    """Return the corpus of rows with splits of their own, and the default edition otherwise.

    It has one file a split: several would each read the few chunks of a small corpus, unlike those of a large one.
    """
    return CorpusConfig(name="made", path=path, shards=1, edition=Edition(name="made", split=SplitRule(kind="given")))


def _prepare(meter: Meter, job: dict[str, Any]) -> None:
    from texthash.corpora.preparation.steps import prepare_corpus

    prepare_corpus(_configured(job["rows"]), StateDir(Path(job["home"])), Metered(meter))


def _train(meter: Meter, job: dict[str, Any]) -> None:
    import torch

    from texthash.corpora.prepared.corpus import PreparedCorpus
    from texthash.evaluation.baselines.floor import with_floor
    from texthash.evaluation.protocol import EvaluationProtocol
    from texthash.methods.registry import build
    from texthash.models.hasher import Hasher
    from texthash.training.loop import fit

    torch.set_num_threads(1)
    corpus = PreparedCorpus.open(StateDir(Path(job["home"])).corpus("made", "made"))
    protocol = EvaluationProtocol(corpus, EvaluationConfig())
    validator = protocol.validator()
    ends: list[Takes] = []

    def validate(method: Any) -> float:
        with meter.step("validate"):
            return validator(method)

    with meter.step("read_arrays"):
        untrained = build(job["method"], corpus.shape, job["bits"], {}, 0)
        _ = corpus.train.counts
    validate(untrained.eval())  # what it makes once is no part of an epoch
    meter.steps["first_validation"] = meter.steps.pop("validate")
    config = TrainingConfig(epochs=job["epochs"], use_gpu=job["gpu"])
    with meter.step("fit"):
        method = fit(
            untrained, corpus.train, config, validate=validate, on_epoch=lambda _: ends.append(_taken())
        ).method
    whole, validations = meter.steps.pop("fit"), meter.steps["validate"]
    meter.add("epochs", {key: whole[key] - validations[key] for key in whole})
    with meter.step("evaluate"):
        hasher = Hasher.of(method.cpu(), corpus)
        with_floor(protocol.evaluate_validation(hasher), corpus, hasher)
    hasher.save(Path(job["home"]) / "hasher")


def _index(meter: Meter, job: dict[str, Any]) -> None:
    from texthash.index.releases.publish import publish
    from texthash.index.writing.build import build_index

    home = StateDir(Path(job["home"]))
    hasher = Path(job["home"]) / "hasher"
    corpus = home.corpus("made", "made")
    built = build_index(hasher, corpus, home, IndexConfig().shards, keywords=job["keywords"], executor=Metered(meter))
    publish(home, hasher, built)


def _open(meter: Meter, job: dict[str, Any]) -> None:
    from texthash.hamming.kernels import warmup
    from texthash.index.keywords.top import load_kernel
    from texthash.index.releases.release import read_release

    home = StateDir(Path(job["home"]))
    release = read_release(home)
    warmup(release.bits)
    load_kernel()
    with meter.step("open"):
        shards = release.open_shards(home)
        for shard in shards:
            shard.warmup()
    meter.held["keywords" if release.keywords else "tables"] = sum(shard.size_bytes for shard in shards)


_STAGES = {"prepare": _prepare, "train": _train, "index": _index, "open": _open}


def main(job: dict[str, Any]) -> dict[str, Any]:
    """Run one stage, and return its steps and its memory."""
    meter, ended = Meter(), threading.Event()
    watcher = threading.Thread(target=meter.watch, args=(ended,))
    watcher.start()
    try:
        _STAGES[job["stage"]](meter, job)
    finally:
        ended.set()
        watcher.join()
    meter.rest("alone", _taken())
    meter.sample()
    return {"steps": meter.steps, "memory": meter.memory, "held": meter.held}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))))
