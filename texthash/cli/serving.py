"""Commands on the service: start it, and replace its model."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from texthash.cli.indexes import ReleaseName
from texthash.cli.options import Address, ConfigFile, Overrides
from texthash.cli.output import print_json
from texthash.config import Config, load_config
from texthash.paths import StateDir, resolve_home

if TYPE_CHECKING:
    from texthash.tracking.registry import Registry

_DEFAULT = "start"
Candidate = Annotated[
    str, typer.Argument(help="Directory or name of a trained model, latest, or a version of the registry.")
]


class _StartsByDefault(TyperGroup):
    """``texthash serve [OPTIONS] [section.key=value]...`` means ``texthash serve start ...``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


serve_app = typer.Typer(
    cls=_StartsByDefault,
    help="Serve a release over HTTP, and replace its model without a pause. Example: `texthash serve`",
)


@serve_app.command(_DEFAULT)
def serve(
    overrides: Overrides = None,
    config: ConfigFile = None,
    release: ReleaseName = "current",
    port: Annotated[int | None, typer.Option("--port", help="Port of HTTP; service.port.")] = None,
    grpc_port: Annotated[
        int | None, typer.Option("--grpc-port", help="Port of gRPC, off by default; service.grpc_port.")
    ] = None,
    address: Address = None,
    python_proxy: Annotated[
        bool, typer.Option("--python-proxy", help="Use Serve's own proxy instead of the faster HAProxy.")
    ] = False,
) -> None:
    """Serve a release over HTTP until Ctrl-C; `start` may be left out. Example: `texthash serve --port 8001`"""
    from texthash.index.releases.release import read_release
    from texthash.service.foreground import foreground, interrupt_on_signals
    from texthash.service.haproxy import haproxy_environment
    from texthash.service.local_cluster import service_cluster
    from texthash.service.ports import check_ports

    given = {"port": port, "grpc_port": grpc_port}
    ports = [f"service.{name}={value}" for name, value in given.items() if value is not None]
    home, settings = resolve_home(), load_config(config, [*(overrides or []), *ports])
    read_release(home, release)  # A missing release fails here, before a cluster is started.
    if not (address or os.environ.get("RAY_ADDRESS")):
        check_ports(settings.service)
    stdout = sys.stdout
    with haproxy_environment(not python_proxy, address), service_cluster(address) as local:
        from texthash.service.run import serve_release

        if local:
            interrupt_on_signals()
        url = serve_release(home, settings.service, release=release)
        with foreground(url, wait=local):
            print(url, file=stdout, flush=True)


@serve_app.command("promote")
def serve_promote(model: Candidate, overrides: Overrides = None, config: ConfigFile = None) -> None:
    """Serve another model over the live documents, without a pause. Example: `texthash serve promote 2`"""
    from texthash.deployment.promote import promote

    home, settings = resolve_home(), load_config(config, overrides or [])
    hasher, known = _registered(home, settings, model)
    print_json(asdict(promote(home, hasher, **known)))


@serve_app.command("rollback")
def serve_rollback(overrides: Overrides = None, config: ConfigFile = None) -> None:
    """Return to the previous model, with the live documents. Example: `texthash serve rollback`"""
    from texthash.deployment.promote import roll_back

    home, settings = resolve_home(), load_config(config, overrides or [])
    print_json(asdict(roll_back(home, _registry(home, settings))))


def _registered(home: StateDir, settings: Config, model: str) -> tuple[Path, dict[str, Any]]:
    """Return the saved hasher of a model and the facts for its release; a trained model is registered first."""
    from texthash.index.releases.release import read_release

    if model.isdigit():
        registry = _registry(home, settings)
        return registry.fetch(read_release(home).model, model), {"version": model, "registry": registry}
    from texthash.deployment.release_model import register
    from texthash.experiments.corpora import corpus_of
    from texthash.experiments.experiment import Experiment
    from texthash.experiments.trained_models import find_model

    trained = find_model(home, model)
    experiment = Experiment(trained.config.derive(tracking=settings.tracking), home, corpus_of(trained, home))
    known = {
        "version": register(experiment, trained),
        "run": trained.run.run_id,
        "commit": trained.commit,
        "registry": experiment.tracker.registry,
    }
    return trained.hasher, known


def _registry(home: StateDir, settings: Config) -> Registry:
    from texthash.tracking import check_store
    from texthash.tracking.registry import Registry

    return Registry(check_store(settings.tracking, home), home.root / "models")
