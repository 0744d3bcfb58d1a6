"""Commands about studies: run one, see how it stands; compare two models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from texthash.cli.options import Address, Json, on_ray
from texthash.cli.output import print_auto, print_json, print_table
from texthash.paths import resolve_home
from texthash.progress import log_line

study_app = typer.Typer(help="Corpora x methods x bits x seeds from one file.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of a study, or its directory.")]


@study_app.command("run")
def run(
    file: Annotated[Path, typer.Argument(help="YAML file; see configs/studies/.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells that are left, and end.")] = False,
    extend: Annotated[
        bool, typer.Option("--extend", help="Let a study of that name have the cells of this file.")
    ] = False,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Run what is left of a study. Example: `texthash study run configs/studies/posthoc.yaml`"""
    from texthash.experiments.grid.plan import load_plan
    from texthash.experiments.grid.run import forecast, run_study, status

    plan, home = load_plan(file), resolve_home()
    if dry_run:
        found = forecast(plan, home)
        if as_json:
            print_json(found)
            return
        print("\n".join(found["to_do"]))
        seconds = found["training_seconds"]
        estimate = f"; about {seconds:,.0f} s of training, as the done ones took" if seconds is not None else ""
        log_line(f"{len(found['to_do'])} of {found['cells']} cells to do{estimate}")
        return
    with on_ray(address) as executor:
        outcome = run_study(plan, home, extend=extend, executor=executor)
    summary: dict[str, Any] = {"study": plan.name, "directory": str(outcome.folder.path), "run": outcome.run.run_id}
    summary |= {"done": outcome.done, "skipped": outcome.skipped, "cells": status(outcome.folder)}
    print_json(summary) if as_json else print_auto(summary)
    log_line(f"one page about it: texthash report {plan.name}")


@study_app.command("list")
def listed(as_json: Json = False) -> None:
    """The studies that are there. Example: `texthash study list`"""
    from texthash.experiments.grid.folder import StudyFolder, studies

    home = resolve_home()
    rows = []
    for name in studies(home):
        folder = StudyFolder.open(home, name)
        done = sum(map(folder.finished, folder.plan.cells))
        rows.append({"study": name, "cells": len(folder.plan.cells), "done": done, "directory": str(folder.path)})
    print_table(rows, as_json)


@study_app.command("show")
def shown(name: Name, as_json: Json = False) -> None:
    """The cells of a study, and how they stand. Example: `texthash study show posthoc`"""
    from texthash.experiments.grid.folder import StudyFolder
    from texthash.experiments.grid.run import status

    print_table(status(StudyFolder.open(resolve_home(), name)), as_json)


def is_study(name: str) -> bool:
    """Whether a name is that of a study, or its directory, rather than a model's."""
    from texthash.experiments.grid.folder import STUDY, studies

    return (Path(name) / STUDY).is_file() or name in studies(resolve_home())


def study_page(name: str, output: Path | None) -> Path:
    """Make the page about a study; gives its file."""
    from texthash.experiments.grid.folder import StudyFolder
    from texthash.experiments.grid.report import report_study

    home = resolve_home()
    return report_study(StudyFolder.open(home, name), home, output)


def rescored(name: str, k: int | None) -> dict[str, Any]:
    """Compute the figures of a study again; gives how many evaluations have new ones."""
    from texthash.experiments.grid.folder import StudyFolder
    from texthash.experiments.grid.rescore import rescore

    folder = StudyFolder.open(resolve_home(), name)
    config = folder.plan.corpora[0].evaluation.derive(k=k) if k is not None else None
    return {"study": folder.name, "evaluations": rescore(folder, config)}


def compare(
    first: Annotated[str, typer.Argument(metavar="RUN_A", help="A trained model, or the id of its run.")],
    second: Annotated[str, typer.Argument(metavar="RUN_B", help="Another one of the same corpus and edition.")],
    queries: Annotated[int, typer.Option("--queries", min=0, help="How many to show that changed most.")] = 5,
    as_json: Json = False,
) -> None:
    """What differs between two models: configuration, figures with a paired test, queries.

    Example: `texthash compare nash-pydoc-random60-32b-s0-1a2b3c4d latest`
    """
    from texthash.experiments.compare import compare as compared

    found = compared(resolve_home(), first, second, queries)
    if as_json:
        print_json(found.to_dict())
        return
    log_line(f"A: {found.a}\nB: {found.b}\nqueries of {found.split}")
    print_table([{"configuration": key, "A": str(a), "B": str(b)} for key, (a, b) in found.config.items()], False)
    print_table(
        [
            {
                "metric": one.metric,
                "A": one.a,
                "B": one.b,
                "B - A": f"{one.difference:+.4f}",
                "95% interval": f"{one.low:+.4f} to {one.high:+.4f}",
                "p": f"{one.p:.4f}",
            }
            for one in found.metrics
        ],
        False,
    )
    log_line(f"{found.main}: {found.better} queries better with B, {found.worse} worse, {found.equal} equal")
    changed = [("gained", one) for one in found.gained] + [("lost", one) for one in found.lost]
    print_table(
        [
            {"query": one.id, "": kind, "A": one.a, "B": one.b, "labels": ", ".join(one.labels), "text": one.text}
            for kind, one in changed
        ],
        False,
    )
