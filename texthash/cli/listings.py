"""Commands that say what there is: methods, this machine, what waits for the tracking server."""

from __future__ import annotations

from dataclasses import asdict

import typer

from texthash.cli.options import ConfigFile, Json, Overrides
from texthash.cli.output import show
from texthash.config import load_config
from texthash.paths import resolve_home


def methods(as_json: Json = False) -> None:
    """List the hashing methods. Example: `texthash methods --json`"""
    from texthash.methods.registry import methods as registered

    rows = [
        {
            "name": card.name,
            "title": card.title,
            "venue": card.venue,
            "survey_entry": card.survey_entry,
            "tags": list(card.tags),
            "supervision": card.supervision,
            "inputs": ["words", *sorted(card.needs)],
            "fidelity": card.fidelity,
        }
        for card in (method.card for method in registered().values())
    ]
    show(rows, as_json, ["name", "survey_entry", "venue", "supervision", "fidelity", "title"])


def doctor(overrides: Overrides = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Check this machine and say how to mend what is wrong. Example: `texthash doctor`"""
    from texthash.doctor import examine

    findings = examine(load_config(config, overrides or []), resolve_home())
    show([asdict(finding) for finding in findings], as_json)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


def sync(as_json: Json = False) -> None:
    """Send to the MLflow server what was logged while it was away. Example: `texthash sync`"""
    from texthash.tracking import Outbox

    outbox = Outbox.of(resolve_home())
    sent = outbox.send_all()
    show([{"run": outbox.server_id(run), "entries": count} for run, count in sent.items()], as_json)
