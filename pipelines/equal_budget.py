"""Search of the settings of each method of a table by the same number of trials, on validation alone.

``budget`` of a table names the corpus, widths and seeds, the number of trials, and ranges that widen the search space
of every method that trains by gradients; closed forms are searched in their own, and in the weighting of words. The
first trials are the method's defaults and the settings that the table names for it (``hand``); the others are drawn.
All but the settings that are used without a search (``hand``, or else the defaults) may be stopped early. Trials are
written to trials.csv as they train, so that an interrupted search goes on with the next one, and the best to
tuned.yaml.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from halving import HalvingSetting, HalvingTrial, first_trials, halve
from tables import read_tuned, rows_so_far, write_rows

from texthash.config import Config
from texthash.config.tuning import Range
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.io.atomic import write_text
from texthash.methods.registry import get_method, hyperparameters
from texthash.nn.spaces import Choice, SearchSpace
from texthash.paths import StateDir
from texthash.progress import log_line
from texthash.tracking import commit, data_digest
from texthash.tuning.spaces import free_space

PLACE = ("corpus", "edition", "method", "bits")
COLUMNS = (*PLACE, "trial", "origin", "rung", "epochs", "validation", "params", "failure", "search")
NOT_OF_GRADIENTS = {"weighting"}  # what a closed form has in common with the others


def search_space(config: Config, ranges: Mapping[str, Mapping[str, Any]]) -> SearchSpace:
    """Return the space of a method: its own, widened to cover the ranges of the parameters that it has."""
    own, taken = get_method(config.method.name).search_space, hyperparameters(config.method.name)
    gradients = "learning_rate" in taken
    common = {name: r for name, r in ranges.items() if name in taken and (gradients or name in NOT_OF_GRADIENTS)}
    space = {name: Range.model_validate(r).model_dump() for name, r in common.items()}
    for name, given in space.items():
        (kind, values), *_ = given.items()
        if name in own:
            mine = own[name]
            if isinstance(mine, Choice):
                given[kind] = list(dict.fromkeys([*values, *mine.options]))
            else:
                given[kind] = [min(values[0], mine.low), max(values[1], mine.high)]
    return free_space(config.derive(method={"params": {}}, tuning={"space": space}))


def search(
    config: Config,
    corpus: PreparedCorpus,
    home: StateDir,
    budget: Mapping[str, Any],
    hand: Mapping[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """Return the best settings of a method, from tuned.yaml if they stand there, else by a search.

    Args:
        config: Configuration of corpus, training, method and width.
        corpus: Prepared corpus.
        home: State directory, for the states of trials.
        budget: ``trials``, ``seed`` and ``space`` of the table.
        hand: Settings of the method that the table names; empty for none.
        folder: Directory of trials.csv and tuned.yaml.
    """
    place = (corpus.manifest.name, corpus.manifest.edition, config.method.name, str(config.method.bits))
    tuned = read_tuned(folder)
    if (found := tuned.get("/".join(place))) is not None:
        return dict(found["params"])
    space = search_space(config, budget["space"])
    given = {"default": {}, **({"hand": hand} if hand else {})}
    planned = first_trials(space, given, budget["trials"], budget["seed"])
    what: dict[str, Any] = {
        "params": [dict(trial.params) for trial in planned],
        "data": data_digest(corpus),
        "place": place,
    }
    what["epochs"] = config.training.epochs
    name = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:10]
    setting = HalvingSetting(
        method=config.method.name,
        bits=config.method.bits,
        corpus=corpus,
        encoder=config.corpus.features,
        training=config.training,
        validate=EvaluationProtocol(corpus, config.evaluation).validator(),
        states=home.runs / "halving" / name,
    )
    trials = _resumed(planned, place, name, folder)
    done = halve(
        trials, setting.advance, partial(_record, place, name, folder), frozenset({"hand" if hand else "default"})
    )
    best = done[0]
    log_line(f"search {' '.join(place)}: {best.validation:.4f} by trial {best.number} ({best.origin})")
    tuned["/".join(place)] = _summary(done, config)
    write_text(folder / "tuned.yaml", _HEADER + yaml.safe_dump(tuned, sort_keys=False, width=120))
    return dict(best.params)


_HEADER = """# Settings found by equal numbers of trials on validation (python pipelines/reproduce.py TABLE --tuned).
# `validation` is P@100 of seed 0 at the best epoch; `sampled`, `default` and `hand` are those of the best of the random
# trials, of the defaults, and of the settings of methods.yaml, as far as they were trained.
"""


def _summary(done: Sequence[HalvingTrial], config: Config) -> dict[str, Any]:
    best = done[0]
    scores: dict[str, float] = {}
    for trial in done:
        if trial.validation is not None and trial.validation > scores.get(trial.origin, 0.0):
            scores[trial.origin] = round(trial.validation, 4)
    assert best.validation is not None, "every trial failed"
    return {
        "validation": round(best.validation, 4),
        "origin": best.origin,
        "trials": len(done),
        "epochs": config.training.epochs,
        "epochs_of_all": sum(trial.epochs for trial in done),
        **{origin: scores[origin] for origin in ("sampled", "default", "hand") if origin in scores},
        **({"features": config.corpus.features} if config.corpus.features else {}),
        "commit": commit(),
        "params": dict(best.params),
    }


def _resumed(planned: Sequence[HalvingTrial], place: tuple[str, ...], name: str, folder: Path) -> list[HalvingTrial]:
    """Return the trials with what trials.csv says of them, where it is of the same search."""
    known = {
        row["trial"]: row
        for row in rows_so_far(folder / "trials.csv")
        if _place(row) == place and row["search"] == name
    }
    return [_read(trial, known[str(trial.number)]) if str(trial.number) in known else trial for trial in planned]


def _read(trial: HalvingTrial, row: Mapping[str, str]) -> HalvingTrial:
    return HalvingTrial(
        trial.number,
        trial.origin,
        trial.params,
        int(row["rung"]),
        int(row["epochs"]),
        float(row["validation"]) if row["validation"] else None,
        row["failure"],
    )


def _record(place: tuple[str, ...], name: str, folder: Path, trials: Sequence[HalvingTrial]) -> None:
    rows = [row for row in rows_so_far(folder / "trials.csv") if _place(row) != place]
    for trial in trials:
        values = (
            *place,
            str(trial.number),
            trial.origin,
            str(trial.rung),
            str(trial.epochs),
            "" if trial.validation is None else f"{trial.validation:.6f}",
            json.dumps(trial.params),
            trial.failure,
            name,
        )
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    write_rows(folder / "trials.csv", COLUMNS, rows)


def _place(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in PLACE)
