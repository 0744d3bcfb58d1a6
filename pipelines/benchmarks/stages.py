"""Rates of each stage from text to a service, for ``texthash plan --rates FILE``.

Corpora of several sizes are made up (:mod:`benchmarks.made_texts`), and prepared, trained on, indexed and opened, each
stage in a process of its own (:mod:`benchmarks.stage_process`). A line in the numbers of documents and of words is
fitted to what each step took.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import typer
from scipy.optimize import nnls

from benchmarks.made_texts import write_rows
from benchmarks.reporting import JsonOption, report
from texthash.capacity.serving import machine_name
from texthash.capacity.stage_rates import (
    HeldName,
    Line,
    PeakName,
    SizeName,
    StageRates,
    StepName,
    StepRates,
    write_rates,
)
from texthash.errors import TexthashError
from texthash.progress import log_line

_TAKEN = ("cpu", "read", "written")
_COMPARING = ("train_once", "validate")  # steps that compare each document with each query
_EPOCHS = 1


@dataclass(frozen=True)
class _Size:
    """Size of a corpus: training documents, mean words, and documents of validation and of test.

    One is only prepared, which takes little for a document, so that it shows with many alone.
    """

    train: int
    words: int
    held_out: int
    only_prepared: bool = False

    @property
    def documents(self) -> int:
        return self.train + 2 * self.held_out


_Run = tuple[_Size, dict[str, Any]]


def command(
    output: Annotated[Path, typer.Option(help="File for the rates.")],
    json: JsonOption = None,
    documents: Annotated[int, typer.Option(min=1000, help="Documents of the largest corpus.")] = 80_000,
    method: Annotated[str, typer.Option(help="Method that is trained.")] = "nash",
    bits: Annotated[int, typer.Option(help="Width of a code.")] = 64,
    gpu: Annotated[bool, typer.Option("--gpu", help="Train on a GPU.")] = False,
) -> None:
    """Measure what each stage takes for a document and a word."""
    quarter, held = documents // 4, 1000
    runs = []
    for size in (
        _Size(quarter, 40, held),
        _Size(documents, 40, held),
        _Size(quarter, 120, held),
        _Size(quarter, 40, 4 * held),
        _Size(8 * documents, 40, held, only_prepared=True),
    ):
        with tempfile.TemporaryDirectory() as folder:
            runs.append((size, _measured(size, Path(folder), method, bits, gpu)))
    rates = _rates(runs, method, bits, "cuda" if gpu else "cpu")
    write_rates(rates, output)
    rows = [
        {"step": name, "of": key, **asdict(line)}
        for name, step in rates.steps.items()
        for key, line in (("CPU s", step.cpu), ("bytes read", step.read), ("bytes written", step.written))
    ]
    report("rates of the stages", rows, json)


def _measured(size: _Size, folder: Path, method: str, bits: int, gpu: bool) -> dict[str, Any]:
    """Return steps, sizes on disk and memory of one corpus."""
    home = folder / "home"
    job: dict[str, Any] = {"home": str(home), "method": method, "bits": bits, "epochs": _EPOCHS, "gpu": gpu}
    job["rows"] = str(write_rows(folder / "rows.jsonl", size.train, size.words, size.held_out))
    steps: dict[str, dict[str, float]] = {}
    made: dict[str, float] = {}
    peaks: dict[str, float] = {}
    prepared = _run(job, "prepare")
    steps |= prepared["steps"] | {"prepare_alone": prepared["steps"]["alone"]}
    made["corpus"], peaks["prepare"] = _bytes(home), prepared["memory"]["peak"]
    if size.only_prepared:
        return {"steps": steps, "sizes": made, "peaks": peaks, "held": {}}
    trained = _run(job, "train")
    own = trained["steps"]
    made["arrays"], peaks["train"] = _bytes(home) - made["corpus"], trained["memory"]["peak"]
    steps["train_once"] = _sum(own, "read_arrays", "first_validation", "evaluate", "alone")
    steps["epoch"] = {key: value / _EPOCHS for key, value in own["epochs"].items()}
    steps["validate"] = {key: value / _EPOCHS for key, value in own["validate"].items()}
    before = _bytes(home)
    held: dict[str, float] = {}
    for kind, keywords in (("keywords", "english"), ("tables", None)):
        built = _run(job | {"keywords": keywords}, "index")
        steps["encode"], steps["index_alone"] = built["steps"]["encode"], built["steps"]["alone"]
        steps[f"write_{kind}"] = built["steps"]["build_shard"]
        made[f"index_{kind}"] = _bytes(home) - before
        peaks["encode"], peaks["write"] = built["memory"]["encode"], built["memory"]["build_shard"]
        before = _bytes(home)
        opened = _run(job, "open")
        steps[f"open_{kind}"] = opened["steps"]["open"]
        held |= opened["held"]
    return {"steps": steps, "sizes": made, "peaks": peaks, "held": held}


def _run(job: dict[str, Any], stage: str) -> dict[str, Any]:
    log_line(f"{stage}, {Path(job['rows']).stat().st_size / 1e6:.0f} MB of rows")
    words = [sys.executable, "-m", "benchmarks.stage_process", json.dumps(job | {"stage": stage})]
    ended = subprocess.run(
        words, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True, check=False, encoding="utf-8"
    )
    if ended.returncode:
        raise TexthashError(f"the stage {stage} failed.", "read its output above for the reason.")
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def _rates(runs: list[_Run], method: str, bits: int, device: Any) -> StageRates:
    return StageRates(
        machine=machine_name(),
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        documents=max(size.documents for size, _ in runs if not size.only_prepared),
        method=method,
        bits=bits,
        device=device,
        steps={
            name: StepRates(**{key: _line(runs, "steps", name, key) for key in _TAKEN}) for name in get_args(StepName)
        },
        sizes={name: _line(runs, "sizes", name) for name in get_args(SizeName)},
        peaks={name: max(found["peaks"].get(name, 0.0) for _, found in runs) for name in get_args(PeakName)},
        held={name: _line(runs, "held", name) for name in get_args(HeldName)},
    )


def _line(runs: list[_Run], kind: str, name: str, *keys: str) -> Line:
    """Fit a line without negative costs; training knows its own documents, other steps all of them."""
    of_training = name in ("epoch", "arrays", *_COMPARING)
    measured = [(size, found[kind][name]) for size, found in runs if name in found[kind]]
    sizes = [size for size, _ in measured]
    values = [reduce(getitem, keys, value) for _, value in measured]
    documents = np.array([size.train if of_training else size.documents for size in sizes], np.float64)
    columns = [np.ones(len(sizes)), documents, documents * [size.words for size in sizes]]
    if name in _COMPARING:
        columns.append(documents * [size.held_out for size in sizes])
    scale = np.array([column.max() for column in columns])
    found = nnls(np.stack(columns, 1) / scale, np.array(values))[0] / scale
    return Line(*(float(f"{cost:.4g}") for cost in found))


def _sum(steps: dict[str, dict[str, float]], *names: str) -> dict[str, float]:
    return {key: sum(steps[name][key] for name in names) for key in _TAKEN}


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
