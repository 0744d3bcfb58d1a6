"""Run a study, corpora x methods x bits x seeds from one file, its cells side by side on Ray.

    python pipelines/study.py configs/studies/posthoc.yaml
    python pipelines/study.py configs/studies/posthoc.yaml --dry-run

Cells that are done are skipped, so the same command goes on where one was interrupted; a cell that fails does not end
the others. Each cell is a run in MLflow, nested in the study's. Codes and relevance are kept: a new metric needs no
new training (``texthash evaluate --rescore STUDY``). ``texthash report STUDY`` describes it on one page. Prints a
summary.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from common import bare_parser, finish, ray_executor, state

from texthash.experiments.grid.plan import load_plan
from texthash.experiments.grid.run import forecast, run_study
from texthash.progress import step


def main(arguments: argparse.Namespace) -> dict[str, Any]:
    plan, home = load_plan(arguments.file), state(arguments.home)
    if arguments.dry_run:
        return forecast(plan, home)
    with ray_executor(home) as executor, step(f"study {plan.name}"):
        outcome = run_study(plan, home, extend=arguments.extend, executor=executor)
    return {
        "study": plan.name,
        "directory": str(outcome.folder.path),
        "run": outcome.run.run_id,
        "done": outcome.done,
        "skipped": outcome.skipped,
    }


def run() -> int:
    options = bare_parser(__doc__)
    options.add_argument("file", type=Path, help="YAML file; see configs/studies/")
    options.add_argument("--dry-run", action="store_true", help="print the cells that are left, and end")
    options.add_argument("--extend", action="store_true", help="let a study of that name have the cells of this file")
    arguments = options.parse_args()
    return finish(lambda: main(arguments), arguments.verbose)


if __name__ == "__main__":
    sys.exit(run())
