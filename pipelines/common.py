"""What every program here does: read its configuration, find its state, connect to Ray, say what went wrong."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from texthash.cli.output import print_auto
from texthash.cli.running import report_error
from texthash.cli.utf8 import ensure_utf8
from texthash.cluster import check_shared, cluster
from texthash.config import Config, load_config
from texthash.errors import UsageError
from texthash.executor import Executor, RayExecutor
from texthash.logging import show
from texthash.methods.registry import resolved
from texthash.paths import HOME_VARIABLE, STORE_VARIABLE, StateDir, is_address, resolve_home
from texthash.progress import log_line

# Set by Ray for the entry point of a submitted job, whose working directory is a throw-away copy.
_IN_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options of programs that read a configuration; any other argument is a dotted override."""
    options = bare_parser(description)
    options.add_argument("--config", type=Path, help="YAML file; see configs/")
    options.add_argument("overrides", nargs="*", metavar="section.key=value", help="e.g. method.bits=64")
    return options


def bare_parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all programs share."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    options.add_argument("--home", help=f"state directory; default: {HOME_VARIABLE}, else .texthash here")
    options.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return options


def run(options: argparse.ArgumentParser, main: Callable[[argparse.Namespace, Config, StateDir], Any]) -> int:
    """Parse, read the configuration, and go on as :func:`finish`."""
    arguments = options.parse_intermixed_args()

    def configured() -> Any:
        config = load_config(arguments.config, arguments.overrides)
        resolved(config)  # before hours of work, not after
        return main(arguments, config, state(arguments.home))

    return finish(configured, arguments.verbose)


def finish(main: Callable[[], Any], verbose: bool) -> int:
    """Run, and print what ``main`` returns on stdout: tables on a terminal, else JSON.

    Returns:
        The exit status: 0 done, 1 failed, 2 wrong use.
    """
    ensure_utf8()
    show()
    try:
        result = main()
    except KeyboardInterrupt:
        log_line("interrupted; the same command goes on where this one ended")
        return 130
    except Exception as error:
        failed = report_error(error, verbose)
        if failed is None:
            raise
        return failed
    if result is not None:
        print_auto(result)
    return 0


def state(named: str | None) -> StateDir:
    """The state directory. A job has no directory that a person started it in, so there the default is another.

    Raises:
        UsageError: inside a job, a relative path, which would lie in the job's throw-away copy.
    """
    chosen = named or os.environ.get(HOME_VARIABLE)
    if os.environ.get(_IN_JOB):
        for variable, place in ((HOME_VARIABLE, chosen), (STORE_VARIABLE, os.environ.get(STORE_VARIABLE))):
            if place and not is_address(place) and not Path(place).expanduser().is_absolute():
                raise UsageError(
                    f"{variable}={place} is relative, and a job runs in a copy of the working directory.",
                    f'submit it with --runtime-env-json \'{{"env_vars": {{"{variable}": "/an/absolute/path"}}}}\'.',
                )
        if not chosen:
            chosen = str(Path.home() / ".texthash")
            log_line(f"{HOME_VARIABLE} is not set for this job: state goes to {chosen}")
    return resolve_home(chosen)


@contextmanager
def ray_executor(home: StateDir) -> Iterator[Executor]:
    """Connect to Ray, check that its nodes share the state directory, and yield what runs tasks there."""
    with cluster():
        check_shared(home.root, home.store)
        yield RayExecutor()
