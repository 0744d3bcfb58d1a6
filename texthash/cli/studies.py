"""Commands on studies: run one, show its progress; and the comparison of two models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from texthash.cli.options import Address, Json, on_ray
from texthash.cli.output import print_auto, print_json, print_table
from texthash.config import find_config
from texthash.paths import DATA_VARIABLE, resolve_home
from texthash.progress import log_line

study_app = typer.Typer(help="Run grids of corpora, methods, bits and seeds from one file.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of a study, or its directory.")]


@study_app.command("run")
def run(
    file: Annotated[Path, typer.Argument(help="YAML file; see configs/studies/.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells that are left, and exit.")] = False,
    extend: Annotated[
        bool, typer.Option("--extend", help="Add the cells of this file to the study of that name.")
    ] = False,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Run the unfinished cells of a study. Example: `texthash study run configs/studies/posthoc.yaml`"""
    from texthash.experiments.grid.plan import load_plan
    from texthash.experiments.grid.run import forecast, run_study, status
    from texthash.experiments.retrieval.plan import is_retrieval

    if is_retrieval(file):
        _run_retrieval(file, dry_run=dry_run, as_json=as_json)
        return
    plan, home = load_plan(file), resolve_home()
    if dry_run:
        expected = forecast(plan, home)
        if as_json:
            print_json(expected)
            return
        print("\n".join(expected["to_do"]))
        seconds = expected["training_seconds"]
        estimate = f"; about {seconds:,.0f} s of training, by the finished ones" if seconds is not None else ""
        log_line(f"{len(expected['to_do'])} of {expected['cells']} cells to do{estimate}")
        return
    with on_ray(address) as executor:
        outcome = run_study(plan, home, extend=extend, executor=executor)
    summary: dict[str, Any] = {"study": plan.name, "directory": str(outcome.folder.path), "run": outcome.run.run_id}
    summary |= {"done": outcome.done, "skipped": outcome.skipped, "cells": status(outcome.folder)}
    print_json(summary) if as_json else print_auto(summary)
    log_line(f"report: texthash report {plan.name}")


def _run_retrieval(file: Path, *, dry_run: bool, as_json: bool) -> None:
    """Run a study of test collections, and print the summary."""
    from texthash.experiments.retrieval.plan import load_retrieval_plan
    from texthash.experiments.retrieval.study import run_retrieval

    plan = load_retrieval_plan(file)
    if dry_run:
        print("\n".join(plan.collections))
        return
    data = os.environ.get(DATA_VARIABLE)
    outcome = run_retrieval(plan, resolve_home(), find_config(file).parent, Path(data) if data else None)
    summary: dict[str, Any] = {"study": plan.name, "directory": str(outcome.directory), "left_out": outcome.left_out}
    if as_json:
        print_json(summary | {"tables": [table.to_dict() for table in outcome.tables.values()]})
        return
    print_auto(summary)


@study_app.command("list")
def list_studies(as_json: Json = False) -> None:
    """List the studies. Example: `texthash study list`"""
    from texthash.experiments.grid.folder import StudyFolder, studies

    home = resolve_home()
    rows = []
    for name in studies(home):
        folder = StudyFolder.open(home, name)
        done = sum(map(folder.finished, folder.plan.cells))
        rows.append({"study": name, "cells": len(folder.plan.cells), "done": done, "directory": str(folder.path)})
    print_table(rows, as_json)


@study_app.command("show")
def show_study(name: Name, as_json: Json = False) -> None:
    """Show the cells of a study and their state. Example: `texthash study show posthoc`"""
    from texthash.experiments.grid.folder import StudyFolder
    from texthash.experiments.grid.run import status

    print_table(status(StudyFolder.open(resolve_home(), name)), as_json)


def is_study(name: str) -> bool:
    """Return whether a name is that of a study, or its directory, rather than of a model."""
    from texthash.experiments.grid.folder import STUDY, studies

    return (Path(name) / STUDY).is_file() or name in studies(resolve_home())


def study_page(name: str, output: Path | None) -> Path:
    """Write the HTML page about a study and return its path."""
    from texthash.experiments.grid.folder import StudyFolder
    from texthash.experiments.grid.report import report_study

    home = resolve_home()
    return report_study(StudyFolder.open(home, name), home, output)


def rescored(name: str, k: int | None) -> dict[str, Any]:
    """Compute the metrics of a study again; returns the number of evaluations that changed."""
    from texthash.experiments.grid.folder import StudyFolder
    from texthash.experiments.grid.rescore import rescore

    folder = StudyFolder.open(resolve_home(), name)
    config = folder.plan.corpora[0].evaluation.derive(k=k) if k is not None else None
    return {"study": folder.name, "evaluations": rescore(folder, config)}


def compare(
    first: Annotated[str, typer.Argument(metavar="RUN_A", help="Trained model, or the id of its run.")],
    second: Annotated[str, typer.Argument(metavar="RUN_B", help="Another model of the same corpus and edition.")],
    queries: Annotated[int, typer.Option("--queries", min=0, help="Number of the most changed queries to show.")] = 5,
    as_json: Json = False,
) -> None:
    """Compare two models: configuration, metrics with a paired test, and queries.

    Example: `texthash compare nash-pydoc-random60-32b-s0-1a2b3c4d latest`
    """
    from texthash.experiments.compare import compare as compared

    comparison = compared(resolve_home(), first, second, queries)
    if as_json:
        print_json(comparison.to_dict())
        return
    log_line(f"A: {comparison.a}\nB: {comparison.b}\nqueries of {comparison.split}")
    if comparison.config:
        rows = [{"configuration": key, "A": str(a), "B": str(b)} for key, (a, b) in comparison.config.items()]
        print_table(rows, False)
    else:
        log_line("their configurations are equal")
    print_table(
        [
            {
                "metric": row.metric,
                "A": row.a,
                "B": row.b,
                "B - A": f"{row.difference:+.4f}",
                "95% interval": f"{row.low:+.4f} to {row.high:+.4f}",
                "p": f"{row.p:.4f}",
            }
            for row in comparison.metrics
        ],
        False,
    )
    better, worse, equal = comparison.better, comparison.worse, comparison.equal
    log_line(f"{comparison.main}: {better} queries better with B, {worse} worse, {equal} equal")
    changed = [("gained", query) for query in comparison.gained] + [("lost", query) for query in comparison.lost]
    if not changed:
        return
    print_table(
        [
            {
                "query": query.id,
                "": kind,
                "A": query.a,
                "B": query.b,
                "labels": ", ".join(query.labels),
                "text": query.text,
            }
            for kind, query in changed
        ],
        False,
    )
