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
        raise _refused(_NUMBA_THREADS, value, "give a whole number of at least 1")


def check_mlflow() -> None:
    """Check the variables of MLflow that are set, which it would read only in the middle of its calls.

    Raises:
        UsageError: One has a value that MLflow cannot read.
    """
    from mlflow import environment_variables

    for variable in vars(environment_variables).values():
        name = getattr(variable, "name", None)
        if not isinstance(name, str) or name not in os.environ or not hasattr(variable, "get"):
            continue
        try:
            variable.get()
        except ValueError as error:
            raise _refused(name, os.environ[name], "give a value that MLflow's documentation names") from error


def _refused(name: str, value: str, remedy: str) -> UsageError:
    return UsageError(f"the environment variable {name}={value!r} has a wrong value.", f"{remedy}, or unset {name}.")
