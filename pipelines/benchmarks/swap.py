"""Promotion of another model, and rollback, under a continuous load of searches."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.enlarged import enlarge
from benchmarks.load import search_bodies, search_load, search_load_during
from benchmarks.reporting import JsonOption, report
from benchmarks.serving import PlacementOption, served
from texthash.deployment.promote import promote, roll_back
from texthash.errors import UsageError
from texthash.experiments.trained_models import find_model
from texthash.index.releases.release import read_release
from texthash.models.files import digest
from texthash.paths import resolve_home
from texthash.progress import log_line


def command(
    model: Annotated[str, typer.Option(help="Trained model to promote, of the corpus and bits that are released.")],
    json: JsonOption = None,
    documents: Annotated[int, typer.Option(min=1, help="Documents served: those of the release, repeated.")] = 100_000,
    clients: Annotated[int, typer.Option(min=1, help="Clients that search.")] = 32,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of the measurement without a change.")] = 8.0,
    placement: PlacementOption = "auto",
) -> None:
    """Promote a model, and roll back, under a load of searches from a separate process.

    `releases` is the number of releases that answered, `unlike` the number of answers that differ from an earlier one
    of the same release to the same search.
    """
    source = resolve_home()
    current, candidate = read_release(source), find_model(source, model).hasher
    if digest(candidate) == current.model_digest:
        raise UsageError(f"{model} is the released model already.", "name another one of the same corpus and bits.")
    with tempfile.TemporaryDirectory(prefix="texthash-swap-") as place:
        home = enlarge(source, current, documents, Path(place))
        hasher = Path(shutil.copytree(candidate, home.root / "models" / "candidate"))
        bodies = search_bodies(home, "current")
        rows: list[dict[str, Any]] = []
        with served(home, placement=placement) as port:
            log_line(f"{clients} clients search")
            rows.append({"event": "none", **search_load(port, clients, seconds, bodies)})
            for name, event in {"promote": lambda: promote(home, hasher), "rollback": lambda: roll_back(home)}.items():
                log_line(f"{clients} clients search: {name}")
                rows.append({"event": name, **search_load_during(port, clients, bodies, event)})
    title = f"model exchanged under load, {documents:,} documents, {current.bits} bits, {len(current.shards)} shards"
    title += f", placement {placement}"
    report(title, rows, json)
