"""Plan of the stages before a service: what each takes on a cluster, from rates that were measured on one core.

Work that is done in tasks is divided among the cores, as far as there are tasks; the rest is done by one process. What
is assumed beyond the rates is said in :attr:`StagePlans.assumptions`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from texthash.capacity.stage_rates import Line, StageRates, StepName
from texthash.config.corpus import CorpusConfig
from texthash.config.index import IndexConfig
from texthash.errors import UsageError

IndexKind = Literal["keywords", "tables"]
# Two workers prepare 1.72 times as fast as one, see the benchmark of preparation.
EFFICIENCY = 0.86
_DOCUMENTS_A_FILE = 1_000_000
_DRIVER_BYTES = 17  # of each document, which the driver of a preparation holds
# Of each training document while a model is evaluated: measured with 10**6, of which smaller corpora show nothing.
_EVALUATED_BYTES = 1_100
_CHUNK_BYTES = 4_000_000  # of text in a task that reads
_WORD_BYTES = 7  # of a word and the space after it
_MEASURED_WORDS = 40  # of a document of the largest corpus that was measured
_LEAST_SHARE = 0.1  # of a step that grows with the documents there; less is not told from noise
_ALONE: dict[str, StepName] = {"prepare": "prepare_alone", "train": "train_once", "index": "index_alone"}


@dataclass(frozen=True)
class Workload:
    """Corpus, training and cluster that are planned.

    Attributes:
        documents: Number of documents of all splits.
        mean_words: Mean number of words of a document.
        held_out: Number of documents of validation, and as many of test.
        epochs: Number of epochs.
        training_workers: Number of processes that train together, with a core or a GPU each.
        index: Whether the index stores words too, or codes alone.
        nodes: Number of nodes.
        node_cores: Number of cores of a node.
        node_gpus: Number of GPUs of a node.
    """

    documents: int
    mean_words: float = 100.0
    held_out: int = 10_000
    epochs: int = 10
    training_workers: int = 1
    index: IndexKind = "keywords"
    nodes: int = 1
    node_cores: int = 8
    node_gpus: int = 0

    @property
    def training_documents(self) -> int:
        """Number of documents of the train split."""
        return self.documents - 2 * self.held_out


@dataclass(frozen=True)
class StagePlan:
    """What one stage takes.

    Attributes:
        stage: Name of the stage.
        cpu_s: Seconds of a CPU, in all processes together.
        wall_s: Time on the cluster.
        alone_s: Share of it in which one process works alone.
        read_bytes: Bytes that are read from files.
        written_bytes: Bytes that are written to files, working data included.
        disk_bytes: Bytes that stay, in the state directory or the node's cache.
        node_memory_bytes: Peak of memory of the busiest node.
    """

    stage: str
    cpu_s: float
    wall_s: float
    alone_s: float
    read_bytes: int
    written_bytes: int
    disk_bytes: int
    node_memory_bytes: int


@dataclass(frozen=True)
class StagePlans:
    """Plans of all stages, their assumptions, and memory of an index that is searched, per document in bytes."""

    stages: tuple[StagePlan, ...]
    assumptions: tuple[str, ...]
    held_bytes_per_document: float


def plan_stages(work: Workload, rates: StageRates) -> StagePlans:
    """Compute what each stage from text to an open index takes.

    Raises:
        UsageError: A value is out of range, or there are no rates for the GPUs.
    """
    check_workload(work, rates)
    return _Planner(work, rates).plans()


def check_workload(work: Workload, rates: StageRates) -> None:
    """Raise :class:`UsageError` for a workload with a value that is out of range or for which there are no rates."""
    if not 0 <= work.held_out < 1e12:
        raise UsageError(f"held_out={work.held_out} is no number of documents.", "give one from 0.")
    for name in ("mean_words", "epochs", "training_workers", "nodes", "node_cores"):
        if not 0 < getattr(work, name) < 1e12:
            raise UsageError(f"{name}={getattr(work, name)} is not a number from 0 to 1e12.", "give a positive one.")
    if work.training_documents < 1:
        raise UsageError(
            f"of {work.documents:,} documents, {2 * work.held_out:,} are validation and test: none is left to train.",
            "give fewer by --held-out.",
        )
    if work.node_gpus and rates.device == "cpu":
        raise UsageError(
            "the rates were measured without a GPU.",
            "plan without GPUs, or measure on a node that has one: python pipelines/benchmark.py stages --gpu "
            "--output FILE, then --rates FILE.",
        )


class _Planner:
    def __init__(self, work: Workload, rates: StageRates) -> None:
        self.work, self.rates = work, rates
        self.cores = work.nodes * work.node_cores
        self.corpus_files = max(CorpusConfig.model_fields["shards"].default, work.documents // _DOCUMENTS_A_FILE)
        self.shards = max(IndexConfig.model_fields["shards"].default, work.documents // _DOCUMENTS_A_FILE)
        self.chunks = math.ceil(work.documents * work.mean_words * _WORD_BYTES / _CHUNK_BYTES)

    def plans(self) -> StagePlans:
        rates, work = self.rates, self.work
        tasks = {
            "read_part": self.chunks,
            "count_words": self.chunks / 8,
            "write_shards": self.corpus_files,
            "encode": self.corpus_files,
            f"write_{work.index}": self.shards,
        }
        prepare = self._stage(
            "prepare",
            {name: tasks[name] for name in ("read_part", "count_words", "write_shards")},
            "prepare_alone",
            self._size(rates.sizes["corpus"]),
            self._processes(self.chunks) * rates.peaks["prepare"] + work.documents * _DRIVER_BYTES,
        )
        encode = self._stage(
            "encode", {"encode": tasks["encode"]}, None, 0, self._processes(tasks["encode"]) * rates.peaks["encode"]
        )
        size = rates.sizes["index_keywords" if work.index == "keywords" else "index_tables"]
        index = self._stage(
            "index",
            {f"write_{work.index}": self.shards},
            "index_alone",
            self._size(size),
            self._processes(self.shards) * rates.peaks["write"],
        )
        held = self._size(rates.held[work.index])
        serve = self._stage("open", {f"open_{work.index}": self.shards}, None, 0, math.ceil(held / work.nodes))
        return StagePlans((prepare, self._train(), encode, index, serve), self._assumptions(), held / work.documents)

    def _stage(
        self, stage: str, tasks: dict[str, float], alone: StepName | None, disk: float, memory: float
    ) -> StagePlan:
        cpu = wall = 0.0
        bytes_of = {"read": 0.0, "written": 0.0}
        for name, number in tasks.items():
            step = self.rates.steps[name]  # type: ignore[index]
            seconds = self._size(step.cpu)
            workers = max(1.0, min(number, self.cores))
            cpu += seconds
            wall += seconds / workers / (EFFICIENCY if workers > 1 else 1)
            for kind in bytes_of:
                bytes_of[kind] += self._size(getattr(step, kind))
        alone_s = 0.0
        if alone is not None:
            step = self.rates.steps[alone]
            alone_s = self._size(step.cpu)
            for kind in bytes_of:
                bytes_of[kind] += self._size(getattr(step, kind))
        return StagePlan(
            stage,
            round(cpu + alone_s, 1),
            round(wall + alone_s, 1),
            round(alone_s, 1),
            round(bytes_of["read"]),
            round(bytes_of["written"]),
            round(disk),
            round(memory),
        )

    def _train(self) -> StagePlan:
        work, steps = self.work, self.rates.steps
        times: dict[StepName, int] = {"train_once": 1, "epoch": work.epochs, "validate": work.epochs}

        def of(kind: str, names: tuple[StepName, ...]) -> float:
            return sum(
                times[name] * getattr(steps[name], kind).of(work.training_documents, work.mean_words, work.held_out)
                for name in names
            )

        every: tuple[StepName, ...] = ("train_once", "epoch", "validate")
        # The epochs are divided among the workers; the first of them validates.
        alone = of("cpu", ("train_once", "validate"))
        copies = min(work.training_workers, work.node_gpus or work.node_cores)
        return StagePlan(
            "train",
            round(of("cpu", every), 1),
            round(alone + of("cpu", ("epoch",)) / work.training_workers, 1),
            round(alone, 1),
            round(of("read", every)),
            round(of("written", every)),
            round(self.rates.sizes["arrays"].of(work.training_documents, work.mean_words)),
            round(copies * self.rates.peaks["train"] + work.training_documents * _EVALUATED_BYTES),
        )

    def _size(self, line: Line) -> float:
        return line.of(self.work.documents, self.work.mean_words)

    def _processes(self, tasks: float) -> int:
        return max(1, min(math.ceil(tasks), self.work.node_cores))

    def _assumptions(self) -> tuple[str, ...]:
        rates, work = self.rates, self.work
        return (
            f"rates of {rates.method}, {rates.bits} bits, on {rates.device}, measured with up to {rates.documents:,} "
            f"documents on {rates.machine}, {rates.measured}; work is proportional to documents and words",
            f"{work.held_out:,} documents of validation, each compared with every training document after each epoch, "
            f"and as many of test; {work.epochs} epochs",
            f"{self.corpus_files:,} files a split (corpus.shards) and {self.shards:,} shards (index.shards), by tasks "
            f"that cores share at {EFFICIENCY:.0%} of the speed of one alone",
            "storage is as fast for each core as the disk was; mapped files are not counted as read",
            "workers of a training share its epochs without loss",
            *self._not_known(),
        )

    def _not_known(self) -> tuple[str, ...]:
        """Return a sentence on the stages whose part alone was too small to show how it grows with the documents."""
        measured, stages = self.rates.documents, []
        for stage, name in _ALONE.items():
            line = self.rates.steps[name].cpu
            whole = line.of(measured, _MEASURED_WORDS)
            if whole - line.fixed < _LEAST_SHARE * whole:
                stages.append(stage)
        if not stages or self.work.documents <= measured:
            return ()
        return (
            f"how the part in which one process works alone grows is not known for {' and '.join(stages)}: it was a "
            f"matter of the start with {measured:,} documents",
        )
