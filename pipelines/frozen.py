"""Evaluate a nested method on test: one model a seed, cut to several widths, beside a baseline of the same input.

    TEXTHASH_DATA=<folder of the corpora> python pipelines/frozen.py configs/reproductions/frozen.yaml

The epoch is selected on validation at the model's whole width, and test is evaluated once a training. The baseline is
fitted at each width. ``cosine`` is that of the method's activations before the threshold, at the same width; ``words``
and ``vectors`` are the cosines of the real-valued inputs. The intervals are over seeds and queries
(:func:`texthash.evaluation.significance.hierarchical_interval`), ``above`` that of the difference from the baseline
with the weighting that is best on validation. A training with rows in frozen.csv is not repeated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from common import bare_parser, finish, state
from tables import Row, rows_so_far, write_rows

from texthash.config import Config, load_config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.evaluation.baselines.cosine import activation_cosine, float_cosine_reference
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.evaluation.significance import hierarchical_interval
from texthash.experiments.corpora import prepare
from texthash.experiments.experiment import Experiment
from texthash.methods.registry import get_method, hyperparameters
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.progress import log_line
from texthash.tracking import commit

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "configs" / "reproductions" / "frozen.csv"
INTERVALS = RESULTS.with_name("frozen_intervals.csv")
KEYS = ("corpus", "edition", "input", "method", "weighting", "bits", "seed")
FIGURES = ("p_at_100", "p_at_100_worst", "p_at_100_best", "map", "val_p_at_100", "cosine", "val_cosine")
COLUMNS = (*KEYS, *FIGURES, "commit")
PLACE = ("corpus", "edition", "input")
INTERVAL_COLUMNS = (
    *(*PLACE, "method", "bits", "seeds", "p_at_100", "low", "high"),
    *("baseline", "above", "above_low", "above_high"),
)


@dataclass(frozen=True)
class FrozenCell:
    """A corpus with the input of the method."""

    config: Config
    input: str

    @property
    def place(self) -> tuple[str, str, str]:
        return self.config.corpus.name, self.config.corpus.edition.name, self.input


@dataclass(frozen=True)
class FrozenModel:
    """A training, and the widths at which its codes are evaluated."""

    method: str
    weighting: str
    bits: int
    widths: Sequence[int]
    seed: int

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.weighting

    def fits(self, cell: FrozenCell) -> bool:
        """Return whether the method reads the input of a cell."""
        return cell.input == "words" or "input" in hyperparameters(self.method)


def _models(table: Mapping[str, Any]) -> Iterator[FrozenModel]:
    own = _weighting(table["method"])
    for seed in table["seeds"]:
        yield FrozenModel(table["method"], own, table["bits"], table["widths"], seed)
    for width in table["widths"]:
        for weighting in (own, *table["weightings"]):
            yield FrozenModel(table["baseline"], weighting, width, [width], 0)
    supervised, width = table["supervised"]["method"], table["supervised"]["bits"]
    yield FrozenModel(supervised, _weighting(supervised), width, [width], 0)


def _weighting(method: str) -> str:
    return str(hyperparameters(method)["weighting"])


def cells(table: Mapping[str, Any]) -> Iterator[FrozenCell]:
    """Yield the cells of a table, with all epochs of the method."""
    for cell in table["cells"]:
        overrides = ["training.patience=null", *cell.get("overrides", [])]
        yield FrozenCell(load_config(ROOT / cell["corpus"], overrides), cell["input"])


def main() -> int:
    options = bare_parser(__doc__)
    options.add_argument("table", type=Path, help="YAML file, such as configs/reproductions/frozen.yaml")
    arguments = options.parse_args()
    return finish(lambda: _main(arguments), arguments.verbose)


def _main(arguments: argparse.Namespace) -> None:
    table = yaml.safe_load(arguments.table.read_text(encoding="utf-8"))
    home = state(arguments.home)
    for cell in cells(table):
        corpus = prepare(cell.config, home)
        _references(cell, corpus)
        for model in _models(table):
            if model.fits(cell) and not _known((*cell.place, *model.key, str(model.bits), str(model.seed))):
                _run(cell, corpus, home, model)
        _intervals(cell, home, table)


def _run(cell: FrozenCell, corpus: PreparedCorpus, home: StateDir, model: FrozenModel) -> None:
    """Train a model, and evaluate it at each width on validation and on test."""
    params = {"weighting": model.weighting}
    if "input" in hyperparameters(model.method):
        params["input"] = cell.input
    config = cell.config.derive(method={"name": model.method, "bits": model.bits, "params": params})
    hasher = Hasher.load(Experiment(config, home, corpus).train(model.seed).hasher)
    protocol = EvaluationProtocol(corpus, config.evaluation)
    rows: list[Row] = []
    scores: dict[str, Any] = {}
    for width in model.widths:
        shorter = hasher if width == model.bits else hasher.cut(width)
        key = (*cell.place, *model.key, str(width), str(model.seed))
        found = protocol.evaluate_test_once(shorter, " ".join(key))
        scores[f"b{width}"] = found.per_query
        row = dict(zip(KEYS, key, strict=True))
        row |= {name: f"{found.metrics[name]:.4f}" for name in FIGURES if name in found.metrics}
        row["val_p_at_100"] = f"{protocol.validate(shorter)['p_at_100']:.4f}"
        if get_method(model.method).nested:
            for name, split in (("cosine", "test"), ("val_cosine", "validation")):
                row[name] = f"{activation_cosine(shorter.method, corpus, config.evaluation.k, split):.4f}"
        rows.append({**row, "commit": commit()})
        log_line(f"frozen {' '.join(row.values())}")
    path = _scores_of(cell, home, model.key, model.bits, model.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **scores)
    _append(RESULTS, COLUMNS, rows)


def _references(cell: FrozenCell, corpus: PreparedCorpus) -> None:
    """Add the cosines of the real-valued inputs of a cell."""
    k, features = cell.config.evaluation.k, cell.config.corpus.features
    vectors = {"words": "sublinear_tfidf", **({"vectors": corpus.shape_with(features).encoder} if features else {})}
    for name, of in vectors.items():
        key = (*cell.place, name, of or "", "", "")
        if not _known(key) and of is not None:
            test, validation = (f"{float_cosine_reference(corpus, k, s, of):.4f}" for s in ("test", "validation"))
            row = {**dict(zip(KEYS, key, strict=True)), "p_at_100": test, "val_p_at_100": validation}
            _append(RESULTS, COLUMNS, [{**row, "commit": commit()}])


def _intervals(cell: FrozenCell, home: StateDir, table: Mapping[str, Any]) -> None:
    """Write the intervals of a cell, whose trainings have all ended."""
    ours = (table["method"], _weighting(table["method"]))
    models = [np.load(_scores_of(cell, home, ours, table["bits"], seed)) for seed in table["seeds"]]
    rows = [row for row in rows_so_far(INTERVALS) if tuple(row[name] for name in PLACE) != cell.place]
    for width in table["widths"]:
        weighting = _best_weighting(cell, table, width)
        scores = np.stack([one[f"b{width}"] for one in models])
        baseline = np.load(_scores_of(cell, home, (table["baseline"], weighting), width, 0))[f"b{width}"][None]
        known = ~np.isnan(np.concatenate([scores, baseline])).any(axis=0)
        scores, baseline = scores[:, known], baseline[:, known]
        own = [scores.mean(), *hierarchical_interval(scores)]
        above = [scores.mean() - baseline.mean(), *hierarchical_interval(scores, baseline)]
        values = [*cell.place, table["method"], str(width), str(len(scores)), *(f"{value:.4f}" for value in own)]
        values += [f"{table['baseline']} {weighting}", *(f"{value:.4f}" for value in above)]
        rows.append(dict(zip(INTERVAL_COLUMNS, values, strict=True)))
    write_rows(INTERVALS, INTERVAL_COLUMNS, rows)


def _best_weighting(cell: FrozenCell, table: Mapping[str, Any], width: int) -> str:
    """Return the weighting with which the baseline has the higher score on validation."""
    place = (*cell.place, table["baseline"])
    rows = [row for row in rows_so_far(RESULTS) if tuple(row[name] for name in (*PLACE, "method")) == place]
    return max((row for row in rows if row["bits"] == str(width)), key=lambda row: row["val_p_at_100"])["weighting"]


def _scores_of(cell: FrozenCell, home: StateDir, key: tuple[str, str], bits: int, seed: int) -> Path:
    return home.runs / "frozen" / ("-".join((*cell.place, *key, str(bits), str(seed))) + ".npz")


def _known(key: tuple[str, ...]) -> bool:
    return any(tuple(row[name] for name in KEYS) == key for row in rows_so_far(RESULTS))


def _append(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    write_rows(path, columns, [*rows_so_far(path), *rows])


if __name__ == "__main__":
    sys.exit(main())
