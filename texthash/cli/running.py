"""How a program ends: what went wrong is said in one form, with its remedy, whether we found it or typer did."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence

import typer

from texthash.errors import UsageError, as_user_error, exit_status
from texthash.logging import show
from texthash.progress import log_line

_HELP = "NoArgsIsHelpError"  # whose message is the help, which needs no remedy
_WRONG_USE = 2


def report_error(error: Exception, verbose: bool = False) -> int | None:
    """Say what went wrong, with its traceback if wanted, and return the exit status.

    None, and nothing is said, if it is nothing that a user can do something about.
    """
    known = as_user_error(error)
    if known is None:
        return None
    if verbose:
        traceback.print_exception(error)
    log_line(f"error: {known}")
    return exit_status(known)


def run_app(
    app: typer.Typer, arguments: Sequence[str] | None = None, verbose: Callable[[], bool] = lambda: False
) -> int:
    """Run a typer application and return the exit status: 0 done, 1 failed, 2 wrong use, 130 after Ctrl-C.

    Args:
        app: The application.
        arguments: Default: those of the program.
        verbose: Whether tracebacks are wanted, asked for when there is one.
    """
    show()
    try:
        status = app(arguments, standalone_mode=False)
    except Exception as error:
        failed = _told_by_typer(error) or report_error(error, verbose())
        if failed is None:
            raise
        return failed
    return status if isinstance(status, int) else 0


def _told_by_typer(error: Exception) -> int | None:
    """The exit status of an error of typer's own, once it is told; None for any other.

    They are known by what they can do: their class has moved between versions.
    """
    if not (hasattr(error, "format_message") and hasattr(error, "show")):
        return None
    if type(error).__name__ == _HELP:
        error.show()
        return _WRONG_USE
    context = getattr(error, "ctx", None)
    return report_error(UsageError(error.format_message(), f"see {context.command_path} --help." if context else ""))
