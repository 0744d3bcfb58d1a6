"""Typer application of the command line, and its exit status."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from texthash import __version__
from texthash.cli import (
    INTERRUPTED,
    browsing,
    corpora,
    encoding,
    indexes,
    listings,
    methods,
    models,
    planning,
    serving,
    studies,
    writes,  # noqa: F401  (its commands are of the index)
)
from texthash.cli.running import run_app
from texthash.cli.streams import name_output, open_closed_streams
from texthash.cli.utf8 import ensure_utf8
from texthash.environment import check_numba
from texthash.paths import HOME_VARIABLE, as_path, is_address
from texthash.progress import log_line

app = typer.Typer(
    name="texthash",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Learn short binary codes of documents, and search them exactly in Hamming space.",
    epilog="Example: texthash train nash --corpus pydoc --bits 32 && texthash evaluate latest",
)
_COMMANDS: tuple[Callable[..., None], ...] = (
    listings.doctor,
    listings.sync,
    models.prepare,
    models.train,
    models.tune,
    models.evaluate,
    models.report,
    studies.compare,
    encoding.encode,
    indexes.search,
    planning.plan,
)
for command in _COMMANDS:
    app.command()(command)
app.add_typer(serving.serve_app, name="serve")
app.add_typer(browsing.index_app, name="index")
app.add_typer(corpora.corpora_app, name="corpora")
app.add_typer(methods.methods_app, name="methods")
app.add_typer(studies.study_app, name="study")
_VERBOSE = {"traceback": False}
_SIGNALLED = (INTERRUPTED, 128 + signal.SIGTERM, 128 + signal.SIGHUP)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"texthash {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    home: Annotated[str | None, typer.Option("--home", help=f"State directory; default {HOME_VARIABLE}.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    _VERBOSE["traceback"] = verbose
    check_numba()
    if home is not None:
        os.environ[HOME_VARIABLE] = home if is_address(home) else str(as_path(home))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    if arguments is None:
        open_closed_streams()
        ensure_utf8()
        name_output()
    status = run_app(app, arguments, lambda: _VERBOSE["traceback"])
    if status in _SIGNALLED:
        log_line("interrupted; run the same command again to resume")
    sys.exit(status)
