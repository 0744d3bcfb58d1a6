"""Run every cell of a table of methods once, and write its figures on test to configs/reproductions/results.csv.

    python pipelines/reproduce.py configs/reproductions/methods.yaml
    python pipelines/reproduce.py configs/reproductions/methods.yaml --dry-run

A cell is a corpus, an edition, a method, a width and a seed. The epoch that is kept is chosen on validation; test is
looked at when the cell is done, and a cell with a row in the results is skipped, so an interrupted run goes on where
it ended. The cosine of tf-idf vectors stands beside the codes as the method ``tfidf_cosine``. Each cell is a run in
MLflow; where the codes of the validation documents have collapsed, ``collapsed`` says yes. Figures that others have
printed come from configs/reproductions/published.csv.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from common import state

from texthash.config import Config, load_config
from texthash.corpora.dataset import PreparedCorpus
from texthash.errors import TexthashError, UsageError, exit_status
from texthash.evaluation.reference import float_cosine_reference
from texthash.home import Home
from texthash.progress import say
from texthash.tracking import commit
from texthash.workflow.study import Study, prepare

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "configs" / "reproductions" / "results.csv"
PUBLISHED = RESULTS.with_name("published.csv")
FIGURES = ("p_at_100", "p_at_100_worst", "p_at_100_best", "map")
KEYS = ("corpus", "edition", "method", "bits", "seed")
COLUMNS = (*KEYS, *FIGURES, "seconds_per_epoch", "epochs", "published", "published_source", "commit", "collapsed")
REFERENCE = "tfidf_cosine"
Key = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Cell:
    """One row of the table: a configuration and its seed; ``config.method`` is not used by the reference."""

    config: Config
    method: str
    seed: int

    @property
    def key(self) -> Key:
        corpus, bits = self.config.corpus, "" if self.method == REFERENCE else str(self.config.method.bits)
        seed = "" if self.method == REFERENCE else str(self.seed)
        return corpus.name, corpus.edition.name, self.method, bits, seed


def cells(path: Path) -> Iterator[Cell]:
    """All cells of a table, round by round; a cell that two rounds name comes once."""
    table: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    _check_keys(path, table, {"rounds", "methods"})
    seen: set[Key] = set()
    for number, rung in enumerate(table["rounds"], start=1):
        _check_keys(f"{path}, round {number}", rung, {"corpus", "bits", "seeds"})
        for cell in _cells(load_config(ROOT / rung["corpus"]), rung, table["methods"]):
            if cell.key not in seen:
                seen.add(cell.key)
                yield cell


def _cells(base: Config, rung: Mapping[str, Any], methods: Mapping[str, Any]) -> Iterator[Cell]:
    yield Cell(base, REFERENCE, 0)
    for bits in rung["bits"]:
        for method, own in methods.items():
            chosen = base.method.model_validate({"name": method, "bits": bits, "params": own.get("params", {})})
            for seed in rung["seeds"]:
                if seed in own.get("seeds", rung["seeds"]):
                    yield Cell(base.model_copy(update={"method": chosen}), method, seed)


def _check_keys(where: object, mapping: Mapping[str, Any], keys: set[str]) -> None:
    if unlike := set(mapping) ^ keys:
        raise UsageError(f"{where}: {', '.join(sorted(unlike))} missing or unknown.", "see configs/reproductions/.")


def main() -> int:
    arguments = [argument for argument in sys.argv[1:] if argument != "--dry-run"]
    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        say(__doc__ or "")
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    try:
        done = _done()
        left = [cell for cell in cells(Path(arguments[0])) if cell.key not in done]
        say(f"{len(left)} cells to run, {len(done)} rows in {RESULTS.name}")
        if "--dry-run" in sys.argv[1:]:
            for cell in left:
                print(*cell.key)
            return 0
        _run(left, state(None))
    except TexthashError as error:
        say(f"error: {error}")
        return exit_status(error)
    except KeyboardInterrupt:
        say("interrupted; the same command goes on where this one ended")
        return 130
    return 0


def _run(left: list[Cell], home: Home) -> None:
    corpora: dict[tuple[str, str], PreparedCorpus] = {}
    for number, cell in enumerate(left, start=1):
        say(f"== cell {number} of {len(left)}: {' '.join(cell.key)}")
        edition = cell.key[:2]
        if edition not in corpora:
            corpora[edition] = prepare(cell.config, home, distributed=False)
        corpus = corpora[edition]
        figures = _reference(cell, corpus) if cell.method == REFERENCE else _figures(cell, home, corpus)
        _append(cell.key, figures)


def _figures(cell: Cell, home: Home, corpus: PreparedCorpus) -> dict[str, Any]:
    study = Study(cell.config, home, corpus)
    model = study.train(cell.seed)
    found = study.evaluate(model, test=True)
    metrics = found["test"].metrics
    epochs = [report for report in model.history if report.terms]
    return {
        **{name: f"{metrics[name]:.4f}" for name in FIGURES},
        "seconds_per_epoch": f"{sum(r.seconds for r in epochs) / len(epochs):.2f}" if epochs else "",
        "epochs": str(len(epochs)) if epochs else "",
        "collapsed": "yes" if found["validation"].collapse else "no",
    }


def _reference(cell: Cell, corpus: PreparedCorpus) -> dict[str, Any]:
    return {"p_at_100": f"{float_cosine_reference(corpus, cell.config.evaluation.k, 'test'):.4f}"}


def _done() -> set[Key]:
    if not RESULTS.exists():
        return set()
    with RESULTS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["corpus"], row["edition"], row["method"], row["bits"], row["seed"]) for row in rows}


def printed(corpus: str, method: str, bits: str) -> dict[str, str]:
    """``published`` and ``published_source`` of a row, where somebody has printed a figure."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if (row["corpus"], row["method"], row["bits"]) == (corpus, method, bits):
                return {"published": row["p_at_100"], "published_source": f"{row['source']}; {row['protocol']}"}
    return {}


def _append(key: Key, figures: Mapping[str, Any]) -> None:
    """Add one whole row: the file is replaced, never half written."""
    before = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ",".join(COLUMNS) + "\n"
    corpus, _, method, bits, _ = key
    row = {**dict(zip(KEYS, key, strict=True)), **figures, **printed(corpus, method, bits), "commit": commit()}
    line = io.StringIO()
    csv.DictWriter(line, COLUMNS, restval="", lineterminator="\n").writerow(row)
    partial = RESULTS.with_suffix(".partial")
    partial.write_text(before + line.getvalue(), encoding="utf-8")
    partial.replace(RESULTS)


if __name__ == "__main__":
    sys.exit(main())
