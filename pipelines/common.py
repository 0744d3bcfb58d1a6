"""Shared parts of the programs: command-line options, configuration, state directory, errors."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from texthash.cli.output import print_auto
from texthash.cli.running import report_error
from texthash.cli.streams import name_output
from texthash.cli.utf8 import ensure_utf8
from texthash.cluster import cluster
from texthash.config import Config, load_config
from texthash.errors import UsageError
from texthash.executor import Executor, RayExecutor
from texthash.logging import show
from texthash.methods.registry import resolved
from texthash.nodes import check_shared
from texthash.paths import HOME_VARIABLE, STORE_VARIABLE, StateDir, is_address, resolve_home
from texthash.progress import log_line

# Ray sets it for the entry point of a submitted job, whose working directory is a temporary copy.
_IN_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the options of a program that reads a configuration; other arguments are dotted overrides."""
    options = bare_parser(description)
    options.add_argument("--config", type=Path, help="YAML file; see configs/")
    options.add_argument("overrides", nargs="*", metavar="section.key=value", help="e.g. method.bits=64")
    return options


def bare_parser(description: str | None) -> argparse.ArgumentParser:
    """Return the options that all programs share."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    options.add_argument("--home", help=f"state directory; default: {HOME_VARIABLE}, else .texthash")
    options.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return options


def run(options: argparse.ArgumentParser, main: Callable[[argparse.Namespace, Config, StateDir], Any]) -> int:
    """Parse the arguments, read the configuration, and run ``main`` as in :func:`finish`."""
    arguments = options.parse_intermixed_args()

    def configured() -> Any:
        config = load_config(arguments.config, arguments.overrides)
        resolved(config)  # reports wrong hyper-parameters before hours of work
        return main(arguments, config, state(arguments.home))

    return finish(configured, arguments.verbose)


def finish(main: Callable[[], Any], verbose: bool) -> int:
    """Run ``main`` and print its result on stdout: as tables on a terminal, else as JSON.

    Returns:
        Exit status: 0 for success, 1 for failure, 2 for wrong usage, 130 after Ctrl-C.
    """
    ensure_utf8()
    name_output()
    show()
    try:
        result = main()
        if result is not None:
            print_auto(result)
    except KeyboardInterrupt:
        log_line("interrupted; run the same command again to resume")
        return 130
    except Exception as error:
        failed = report_error(error, verbose)
        if failed is None:
            raise
        return failed
    return 0


def state(named: str | None) -> StateDir:
    """Return the state directory.

    In a submitted job the default is in the home directory, since the job's working directory is a temporary copy.

    Raises:
        UsageError: The path is relative in a submitted job, so it would be inside of the temporary copy.
    """
    chosen = named or os.environ.get(HOME_VARIABLE)
    if os.environ.get(_IN_JOB):
        for variable, path in ((HOME_VARIABLE, chosen), (STORE_VARIABLE, os.environ.get(STORE_VARIABLE))):
            if path and not is_address(path) and not Path(path).expanduser().is_absolute():
                raise UsageError(
                    f"{variable}={path} is relative, and a job runs in a copy of the working directory.",
                    f'submit it with --runtime-env-json \'{{"env_vars": {{"{variable}": "/an/absolute/path"}}}}\'.',
                )
        if not chosen:
            chosen = str(Path.home() / ".texthash")
            log_line(f"{HOME_VARIABLE} is not set for this job: state goes to {chosen}")
    return resolve_home(chosen)


@contextmanager
def ray_executor(home: StateDir) -> Iterator[Executor]:
    """Connect to Ray, check that its nodes share the state directory, and yield the executor of the cluster."""
    with cluster():
        check_shared(home.state, home.store)
        yield RayExecutor()
