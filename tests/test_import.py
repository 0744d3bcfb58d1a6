"""Importing the package is light, and so is each of its first rooms, the client, and the help of the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import lance
import pytest

HEAVY = ("torch", "ray", "mlflow", "pandas", "sklearn", "matplotlib", "numba")
# What a client needs no part of: it runs where the other dependencies of texthash may be missing.
# (rich is not among them: httpx imports it where it is installed.)
OF_A_SERVER = (
    *HEAVY,
    "numpy",
    "scipy",
    "pyarrow",
    "lance",
    "fastapi",
    "starlette",
    "uvicorn",
    "omegaconf",
    "typer",
)


def loaded(code: str) -> set[str]:
    """Names of all modules that a program has loaded when it ends."""
    ending = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    done = subprocess.run([sys.executable, "-c", f"{ending}\n{code}"], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("module", ["texthash", "texthash.config", "texthash.paths", "texthash.progress"])
def test_nothing_heavy_is_imported(module: str) -> None:
    assert loaded(f"import {module}").isdisjoint(HEAVY)


@pytest.mark.parametrize("code", ["import texthash", "from texthash.client import Client, AsyncClient"])
def test_a_client_needs_nothing_of_a_server(code: str) -> None:
    assert loaded(code).isdisjoint(OF_A_SERVER)


def test_a_client_imports_its_rooms_and_the_checks_of_arguments() -> None:
    rooms = {
        name.split(".")[1] for name in loaded("from texthash.client import Client") if name.startswith("texthash.")
    }
    assert rooms == {"api", "arguments", "client", "errors"}


def test_wire_types_import_pydantic_alone() -> None:
    found = loaded("import texthash.api.requests, texthash.api.answers, texthash.api.problems")
    assert {name.split(".")[1] for name in found if name.startswith("texthash.")} == {"api"}
    assert found.isdisjoint((*OF_A_SERVER, "httpx"))


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["search", "--help"], ["index", "--help"]])
def test_help_is_light(words: list[str]) -> None:
    code = f"from texthash.cli import main; main({words!r})"
    assert loaded(code).isdisjoint((*HEAVY, "numpy", "scipy", "pyarrow", "lance", "fastapi", "httpx"))


def test_no_private_call_of_lance():
    """Lance marks them as unstable; what is public is kept between versions."""
    root = Path(__file__).parents[1]
    private = {f".{name}(" for name in dir(lance.LanceDataset) if name.startswith("_") and not name.startswith("__")}
    assert "._take_rows(" in private
    found = [path for folder in ("texthash", "pipelines") for path in (root / folder).rglob("*.py")]
    text = {path: path.read_text(encoding="utf-8") for path in found}
    users = [path for path in found if "lance" in text[path]]
    assert len(users) > 10
    assert [path.name for path in users if any(call in text[path] for call in private) or "._ds." in text[path]] == []


def test_a_model_is_loaded_without_the_other_methods_and_what_only_training_needs() -> None:
    code = "import texthash.models.hasher; from texthash.methods.registry import get_method; get_method('itq')"
    found = loaded(code)
    assert "torch" in found
    assert found.isdisjoint({"scipy", "sklearn", "numba"})
    assert {name for name in found if name.startswith("texthash.methods.")} <= {
        f"texthash.methods.{name}"
        for name in ("base", "categorizer", "found_settings", "hyperparameters", "itq", "projected", "registry")
    }
