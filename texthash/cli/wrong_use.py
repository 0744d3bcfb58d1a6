"""Wrong use that typer finds, an unknown option or a missing argument, told as the project's own errors are."""

from __future__ import annotations

import sys

from texthash.errors import UsageError, exit_status
from texthash.progress import say

_HELP = "NoArgsIsHelpError"  # whose message is the help, which needs no remedy


def end_on_wrong_use(error: Exception) -> None:
    """End the program if typer raised the error: in ``standalone_mode=False`` it leaves the telling to others.

    They are known by what they can do: their class has moved between versions.
    """
    if not (hasattr(error, "format_message") and hasattr(error, "show")):
        return
    if type(error).__name__ == _HELP:
        error.show()
        sys.exit(2)
    context = getattr(error, "ctx", None)
    known = UsageError(error.format_message(), f"see {context.command_path} --help." if context else "")
    say(f"error: {known}")
    sys.exit(exit_status(known))
