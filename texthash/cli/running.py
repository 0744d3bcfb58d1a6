"""Exit status of programs, and one form for their errors, whether texthash or typer found them."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import typer

from texthash.cli.blank import refuse_blank
from texthash.cli.streams import drop_output, output_error
from texthash.errors import UsageError, as_user_error, exit_status, plain_message
from texthash.interrupts import leave_on_signals
from texthash.logging import show
from texthash.progress import log_line

_HELP = "NoArgsIsHelpError"  # Its message is the help, which needs no remedy.
_FAILED, _WRONG_USE = 1, 2


def report_error(error: Exception, verbose: bool = False) -> int | None:
    """Log an error and return the exit status; None, without a log line, for an error that no user can correct.

    Args:
        error: Error that ended the program.
        verbose: True prints the traceback as well.
    """
    known = output_error(error) or as_user_error(error)
    if known is None:
        return None
    if verbose:
        traceback.print_exception(error)
    log_line(f"error: {known}")
    return exit_status(known)


def run_app(
    app: typer.Typer, arguments: Sequence[str] | None = None, verbose: Callable[[], bool] = lambda: False
) -> int:
    """Run a typer application and return the exit status: 0 done, 1 failed, 2 wrong use, 128 + n after a signal n.

    SIGTERM and SIGHUP end a command as Ctrl-C does, so that its run in MLflow and its locks are left in order.

    Args:
        app: The application.
        arguments: Arguments; default: those of the program.
        verbose: Returns whether tracebacks are printed; called when an error occurs.
    """
    show()
    with leave_on_signals() as received:
        status = _run(app, arguments, verbose)
    return 128 + received[0] if received else status


def _run(app: typer.Typer, arguments: Sequence[str] | None, verbose: Callable[[], bool]) -> int:
    try:
        os.getcwd()  # Without a working directory no relative path has a meaning, and torch cannot be loaded.
        status = _command(app)(arguments, standalone_mode=False)
        sys.stdout.flush()  # for what is still held back to be an error of the command
    except BrokenPipeError:
        drop_output()
        return _FAILED
    except Exception as error:
        failed = _report_typer_error(error) or report_error(error, verbose())
        if failed is None:
            raise
        return failed
    return status if isinstance(status, int) else 0


@lru_cache(maxsize=1)
def _command(app: typer.Typer) -> Any:
    """Return the command of an application, put together once in a process, which takes over 20 ms."""
    command = typer.main.get_command(app)
    refuse_blank(command)
    return command


def _report_typer_error(error: Exception) -> int | None:
    """Log an error of typer's own and return the exit status; None for any other error.

    They are recognized by their methods, since their class has moved between versions.
    """
    if not (hasattr(error, "format_message") and hasattr(error, "show")):
        return None
    if type(error).__name__ == _HELP:
        error.show()
        return _WRONG_USE
    context = getattr(error, "ctx", None)
    return report_error(UsageError(plain_message(error.format_message()), _remedy(error, context) if context else ""))


def _remedy(error: Any, context: Any) -> str:
    """Return the remedy of wrong use; an option of all commands, such as --home, stands before the command."""
    root, option = context.find_root(), getattr(error, "option_name", None)
    if context is not root and any(option in parameter.opts for parameter in root.command.params):
        command = context.command_path.removeprefix(f"{root.command_path} ")
        return f"give it before the command: texthash {option} ... {command}."
    return f"see {context.command_path} --help."
