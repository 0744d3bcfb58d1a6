"""Environment variables that libraries read, checked before a library fails on them with an error of its own."""

from __future__ import annotations

import os

from texthash.errors import UsageError

_NUMBA_THREADS = "NUMBA_NUM_THREADS"


def check_numba() -> None:
    """Check the variable without which Numba cannot be loaded; call it before Numba is imported.

    Raises:
        UsageError: It is not a whole number of at least 1.
    """
    value = os.environ.get(_NUMBA_THREADS)
    if value is None:
        return
    try:
        threads = int(value)
    except ValueError:
        threads = 0
    if threads < 1:
        raise wrong_variable(_NUMBA_THREADS, value, "give a whole number of at least 1")


def wrong_variable(name: str, value: str, remedy: str) -> UsageError:
    """Return the error of an environment variable whose value a library cannot read."""
    return UsageError(f"the environment variable {name}={value!r} has a wrong value.", f"{remedy}, or unset {name}.")
