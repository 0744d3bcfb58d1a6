"""Commands on this machine and on the entries that wait for the tracking server."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from texthash.cli.options import ConfigFile, Json, Overrides
from texthash.cli.output import print_table
from texthash.config import load_config
from texthash.paths import resolve_home
from texthash.progress import log_line


def doctor(overrides: Overrides = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Check this machine and print how to repair what is wrong. Example: `texthash doctor`"""
    from texthash.doctor import examine

    findings = examine(load_config(config, overrides or []), resolve_home())
    print_table([asdict(finding) for finding in findings], as_json)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


def sync(
    refused: Annotated[
        bool, typer.Option("--refused", help="Send again what the server has refused, such as after a run is restored.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send to the MLflow server what was logged while it was unavailable. Example: `texthash sync`"""
    from texthash.tracking import Outbox

    outbox = Outbox.of(resolve_home())
    if refused:
        outbox.send_refused_again()
    sent = outbox.send_all()
    print_table([{"run": outbox.server_id(run), "entries": count} for run, count in sent.items()], as_json)
    if left := len(outbox.pending()):
        log_line(f"{left} {'run has' if left == 1 else 'runs have'} entries that are not sent")
        raise typer.Exit(1)
