"""Run a study, corpora x methods x bits x seeds from one file, with its cells in parallel on Ray.

    python pipelines/study.py configs/studies/posthoc.yaml
    python pipelines/study.py configs/studies/posthoc.yaml --dry-run

Finished cells are skipped, so the same command resumes an interrupted study; a failed cell does not stop the others.
Each cell is a run in MLflow, nested in the study's run. Codes and relevance are saved: a new metric needs no new
training (``texthash evaluate --rescore STUDY``). ``texthash report STUDY`` writes the report. Prints a summary.

Studies of test collections (``configs/studies/retrieval.yaml``) are run by ``texthash study run``, in one process.
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
    options.add_argument("--dry-run", action="store_true", help="print the remaining cells, and exit")
    options.add_argument("--extend", action="store_true", help="add the cells of this file to an existing study")
    arguments = options.parse_args()
    return finish(lambda: main(arguments), arguments.verbose)


if __name__ == "__main__":
    sys.exit(run())
