"""Programs of ``texthash`` in processes of their own that are forked from one which has imported it.

Imports are most of what a program takes on small data. How one begins from nothing is tested in ``test_cli.py``.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path

IMPORTED = ("texthash.cli", "texthash.deployment.steps", "texthash.models.hasher", "texthash.training.loop", "mlflow")


class Program:
    """A running command of ``texthash``.

    Args:
        words: Words of the command line, without the name of the program.
        environment: All variables of its environment.
        folder: Directory of a file for each of its two outputs.
    """

    def __init__(self, words: tuple[str, ...], environment: Mapping[str, str], folder: Path) -> None:
        folder.mkdir(parents=True)
        self._outputs = folder / "stdout", folder / "stderr"
        self._process = _server().Process(target=_run, args=(words, dict(environment), self._outputs), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def printed(self) -> str:
        return self._outputs[0].read_text() if self._outputs[0].exists() else ""

    @property
    def said(self) -> str:
        return self._outputs[1].read_text() if self._outputs[1].exists() else ""

    @property
    def runs(self) -> bool:
        return self._process.is_alive()

    def wait(self) -> int:
        """Wait for the end; return the exit status."""
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def kill(self) -> None:
        """End it at once, if it runs."""
        self._process.kill()
        self._process.join()


@cache
def _server() -> ForkServerContext:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # its thread would not be there after the fork
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    return context


def _run(words: tuple[str, ...], environment: dict[str, str], outputs: tuple[Path, Path]) -> None:
    from texthash.cli import main

    for number, path in enumerate(outputs, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["texthash", *words]
    main(list(words))
