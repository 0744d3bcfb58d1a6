"""Run every cell of a table of methods once, and write its results on test to configs/reproductions/results.csv.

    python pipelines/reproduce.py configs/reproductions/methods.yaml
    python pipelines/reproduce.py configs/reproductions/methods.yaml --dry-run
    python pipelines/reproduce.py configs/reproductions/methods.yaml --rounds 6 7 --only texthash itq
    python pipelines/reproduce.py configs/reproductions/methods.yaml --validation
    python pipelines/reproduce.py configs/reproductions/methods.yaml --tuned --dry-run
    python pipelines/reproduce.py configs/reproductions/methods.yaml --tuned --only nash bmsh

A cell is a corpus, an edition, a method, a width, a seed, and the origin of its settings: ``default``, ``hand`` (the
table's), ``paper``, or ``tuned``. The epoch is selected on validation, and test is evaluated at the end of the cell. A
cell with a row in the results is skipped, so an interrupted run can be resumed. The cosine of tf-idf vectors is
included as the method ``tfidf_cosine``. Each cell is a run in MLflow; ``collapsed`` is ``yes`` if the codes of the
validation documents have collapsed. Published values are read from configs/reproductions/published.csv.

``val_p_at_100`` is the score on validation, by which pipelines/orders.py compares methods. With ``--validation``, cells
whose rows lack it are trained again to add it; test is not used.

With ``--tuned``, the cells are those of the table's ``budget``: settings of each method are searched on validation by
the same number of trials (pipelines/equal_budget.py), and only the best are trained with all seeds and evaluated on
test. A round with ``preset: tuned`` trains the settings that were found, at other widths and on other corpora, as they
were trained in the search.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from common import bare_parser, finish, state
from equal_budget import search
from tables import read_rows, rows_so_far, write_rows

from texthash.config import Config, load_config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import UsageError
from texthash.evaluation.baselines.cosine import float_cosine_reference
from texthash.experiments.corpora import prepare
from texthash.experiments.experiment import Experiment
from texthash.methods.found_settings import found_settings
from texthash.methods.registry import hyperparameters
from texthash.paths import StateDir
from texthash.progress import log_line
from texthash.tracking import commit

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "configs" / "reproductions" / "results.csv"
PUBLISHED = RESULTS.with_name("published.csv")
FIGURES = ("p_at_100", "p_at_100_worst", "p_at_100_best", "map")
KEYS = ("corpus", "edition", "method", "bits", "seed", "settings")
VALIDATION = "val_p_at_100"
COLUMNS = (
    *(*KEYS, *FIGURES, "seconds_per_epoch", "epochs", "published", "published_source", "commit", "collapsed"),
    VALIDATION,
)
REFERENCE = "tfidf_cosine"
Key = tuple[str, ...]
Row = Mapping[str, str]


@dataclass(frozen=True)
class Cell:
    """One row of the table: a configuration and its seed; the reference ignores ``config.method``."""

    config: Config
    method: str
    seed: int
    settings: str = "default"

    @property
    def key(self) -> Key:
        corpus, bits = self.config.corpus, "" if self.method == REFERENCE else str(self.config.method.bits)
        seed, settings = ("", "") if self.method == REFERENCE else (str(self.seed), self.settings)
        return corpus.name, corpus.edition.name, self.method, bits, seed, settings


_TRAINING = ("training.patience=null",)  # the published results use all epochs; tuned ones are stopped by patience


def read_table(path: Path) -> Mapping[str, Any]:
    """Read a table and check the names of its parts."""
    table: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    _check_keys(path, table, {"rounds", "methods", *({"orders", "budget"} & set(table))})
    for number, rung in enumerate(table["rounds"], start=1):
        optional = {"preset", "methods", "overrides"} & set(rung)
        _check_keys(f"{path}, round {number}", rung, {"corpus", "bits", "seeds", *optional})
    if "budget" in table:
        keys = {"corpus", "bits", "seeds", "trials", "seed", "epochs", "space", "methods"}
        _check_keys(f"{path}, budget", table["budget"], keys)
    return table


def cells(table: Mapping[str, Any], only: Sequence[str] = (), rounds: Sequence[int] = ()) -> Iterator[Cell]:
    """Yield the cells of a table, or of its rounds of these numbers, round by round, each once."""
    methods = _chosen(table["methods"], only)
    seen: set[Key] = set()
    for number, rung in enumerate(table["rounds"], start=1):
        if rounds and number not in rounds:
            continue
        of_round = {name: own for name, own in methods.items() if name in rung.get("methods", methods)}
        for cell in _cells(table, rung, of_round):
            if cell.key not in seen:
                seen.add(cell.key)
                yield cell


def _cells(table: Mapping[str, Any], rung: Mapping[str, Any], methods: Mapping[str, Any]) -> Iterator[Cell]:
    """Yield the cells of a round; those at the settings that the budget found are trained as there, with patience."""
    found = rung.get("preset") == "tuned"
    base = load_config(ROOT / rung["corpus"], (*(() if found else _TRAINING), *rung.get("overrides", ())))
    yield Cell(base, REFERENCE, 0)
    for bits in rung["bits"]:
        for method, own in methods.items():
            if found and method not in found_settings():
                continue
            params, preset = ({}, "tuned") if found else (own.get("params", {}), own.get("preset", "default"))
            config = _of_method(base, own, {"name": method, "bits": bits, "params": params, "preset": preset})
            if found:
                config = _epochs_of_budget(config, table, own)
            seeds = (table["budget"]["methods"][method] if found else own).get("seeds", rung["seeds"])
            for seed in rung["seeds"]:
                if seed in seeds:
                    yield Cell(config, method, seed, "hand" if params else preset)


def _of_method(base: Config, own: Mapping[str, Any], method: Mapping[str, Any]) -> Config:
    corpus = base.corpus.derive(features=own.get("features", base.corpus.features))
    return base.derive(method=base.method.model_validate(method), corpus=corpus)


def _epochs_of_budget(config: Config, table: Mapping[str, Any], own: Mapping[str, Any]) -> Config:
    """Return the configuration with its method's epochs, as many as the budget has at most."""
    params = {**hyperparameters(config.method.name), **own.get("params", {})}
    if "epochs" not in params:
        return config
    return config.derive(training={"epochs": min(params["epochs"], table["budget"]["epochs"])})


def tuned_cells(table: Mapping[str, Any], only: Sequence[str] = ()) -> Iterator[Cell]:
    """Yield the cells of the table's ``budget``, at the defaults: the first seed of each method, then further seeds."""
    budget = table["budget"]
    base = load_config(ROOT / budget["corpus"])
    seeds_of = {name: own.get("seeds", budget["seeds"]) for name, own in _chosen(budget["methods"], only).items()}
    for number in range(max(map(len, seeds_of.values()))):
        for method, seeds in seeds_of.items():
            features = table["methods"].get(method, {}).get("features", base.corpus.features)
            for bits in budget["bits"]:
                for seed in seeds[number : number + 1]:
                    chosen = {"name": method, "bits": bits, "params": {}}
                    config = base.derive(method=chosen, corpus=base.corpus.derive(features=features))
                    yield Cell(config, method, seed, "tuned")


def _chosen(methods: Mapping[str, Any], only: Sequence[str]) -> Mapping[str, Any]:
    if unknown := [name for name in only if name not in methods]:
        raise UsageError(f"--only {' '.join(unknown)}: not in the table.", f"methods there: {', '.join(methods)}.")
    return {name: own for name, own in methods.items() if name in only or not only}


def _searched(table: Mapping[str, Any], cell: Cell, home: StateDir, corpora: Corpora) -> Cell:
    """Return a cell with the settings that are found for its method."""
    budget, own = table["budget"], table["methods"].get(cell.method, {})
    config, hand = _epochs_of_budget(cell.config, table, own), own.get("params", {})
    # Named epochs are those of the line above.
    hand = {name: value for name, value in hand.items() if name != "epochs"}
    params = search(config, corpora.prepared(config), home, budget, hand, RESULTS.parent)
    return dataclasses.replace(cell, config=config.derive(method={"params": params}))


class Corpora:
    """Prepared corpora, each prepared once."""

    def __init__(self, home: StateDir) -> None:
        self.home = home
        self.known: dict[tuple[str, str, str | None], PreparedCorpus] = {}

    def prepared(self, config: Config) -> PreparedCorpus:
        edition = (config.corpus.name, config.corpus.edition.name, config.corpus.features)
        if edition not in self.known:
            self.known[edition] = prepare(config, self.home)
        return self.known[edition]


def _check_keys(where: object, mapping: Mapping[str, Any], keys: set[str]) -> None:
    if unlike := set(mapping) ^ keys:
        raise UsageError(f"{where}: {', '.join(sorted(unlike))} missing or unknown.", "see configs/reproductions/.")


def main() -> int:
    options = bare_parser(__doc__)
    options.add_argument(
        "table", type=Path, help="YAML file of rounds and methods, such as configs/reproductions/methods.yaml"
    )
    options.add_argument("--dry-run", action="store_true", help="print the remaining cells")
    options.add_argument("--validation", action="store_true", help=f"add missing values of {VALIDATION}")
    options.add_argument("--tuned", action="store_true", help="run the cells of the table's budget")
    options.add_argument(
        "--rounds", nargs="+", type=int, default=(), metavar="N", help="numbers of rounds; default: all"
    )
    options.add_argument("--only", nargs="+", default=(), metavar="METHOD", help="methods of the table; default: all")
    arguments = options.parse_args()
    return finish(lambda: _main(arguments), arguments.verbose)


def _main(arguments: argparse.Namespace) -> None:
    table, rows = read_table(arguments.table), {_key(row): row for row in _rows()}
    left = list(_left(table, rows, arguments))
    log_line(f"{len(left)} cells to run, {len(rows)} rows in {RESULTS.name}")
    if arguments.dry_run:
        for cell in left:
            print(*cell.key)
        return
    home = state(arguments.home)
    corpora = Corpora(home)
    for number, cell in enumerate(left, start=1):
        log_line(f"== cell {number} of {len(left)}: {' '.join(cell.key)}")
        ready = _searched(table, cell, home, corpora) if arguments.tuned else cell
        _run(ready, home, corpora, test=not arguments.validation)


def _left(table: Mapping[str, Any], rows: Mapping[Key, Row], arguments: argparse.Namespace) -> Iterator[Cell]:
    if arguments.tuned and "budget" not in table:
        remedy = "see configs/reproductions/methods.yaml."
        raise UsageError(f"{arguments.table} has no budget, so nothing is searched.", remedy)
    chosen = arguments.only
    for cell in tuned_cells(table, chosen) if arguments.tuned else cells(table, chosen, arguments.rounds):
        row = rows.get(cell.key)
        if row is None if not arguments.validation else row and not row[VALIDATION]:
            yield cell


def _run(cell: Cell, home: StateDir, corpora: Corpora, *, test: bool) -> None:
    figures = _reference if cell.method == REFERENCE else _figures
    _write(cell.key, figures(cell, home, corpora.prepared(cell.config), test=test))


def _figures(cell: Cell, home: StateDir, corpus: PreparedCorpus, *, test: bool) -> dict[str, str]:
    experiment = Experiment(cell.config, home, corpus)
    model = experiment.train(cell.seed)
    found = experiment.evaluate(model, test=test)
    validation = {VALIDATION: f"{found['validation'].metrics['p_at_100']:.4f}"}
    if not test:
        return validation
    metrics = found["test"].metrics
    epochs = [report for report in model.history if report.terms]
    return {
        **{name: f"{metrics[name]:.4f}" for name in FIGURES},
        "seconds_per_epoch": f"{sum(r.seconds for r in epochs) / len(epochs):.2f}" if epochs else "",
        "epochs": str(len(epochs)) if epochs else "",
        "collapsed": "yes" if found["validation"].collapse else "no",
        "commit": commit(),
        **validation,
    }


def _reference(cell: Cell, home: StateDir, corpus: PreparedCorpus, *, test: bool) -> dict[str, str]:
    k = cell.config.evaluation.k
    validation = {VALIDATION: f"{float_cosine_reference(corpus, k, 'validation'):.4f}"}
    if not test:
        return validation
    return {"p_at_100": f"{float_cosine_reference(corpus, k, 'test'):.4f}", "commit": commit(), **validation}


def _rows() -> list[dict[str, str]]:
    """Return the rows of the results, with empty values for columns missing in the file."""
    return [{**dict.fromkeys(COLUMNS, ""), **row} for row in rows_so_far(RESULTS)]


def _key(row: Mapping[str, str]) -> Key:
    return tuple(row[name] for name in KEYS)


def printed(corpus: str, method: str, bits: str) -> dict[str, str]:
    """Return ``published`` and ``published_source`` of a row, if there is a published value."""
    for row in read_rows(PUBLISHED):
        if (row["corpus"], row["method"], row["bits"]) == (corpus, method, bits):
            return {"published": row["p_at_100"], "published_source": f"{row['source']}; {row['protocol']}"}
    return {}


def _write(key: Key, figures: Mapping[str, str]) -> None:
    """Add a row, or update an existing one; the file is replaced atomically."""
    rows = _rows()
    row = next((row for row in rows if _key(row) == key), None)
    if row is None:
        row = {**dict.fromkeys(COLUMNS, ""), **dict(zip(KEYS, key, strict=True)), **printed(key[0], key[2], key[3])}
        rows.append(row)
    row.update(figures)
    write_rows(RESULTS, COLUMNS, rows)


if __name__ == "__main__":
    sys.exit(main())
