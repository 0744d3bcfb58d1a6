"""Links into MLflow's user interface, against the one that is installed."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs

import mlflow
import pytest

from texthash.tracking.links import runs_page, user_interface


@pytest.mark.parametrize(
    ("store", "interface"),
    [
        ("sqlite:////home/mlflow.db", "http://127.0.0.1:5999"),
        ("file:///home/mlruns", "http://127.0.0.1:5999"),
        ("http://tracking:80", "http://tracking:80"),
    ],
)
def test_a_server_is_its_own_interface_and_other_stores_have_a_local_one(store, interface):
    assert user_interface(store, 5999) == interface


def test_the_page_of_runs_is_one_that_the_installed_interface_knows():
    address, fragment = runs_page("http://127.0.0.1:5000/", "7").split("#")
    assert address == "http://127.0.0.1:5000/"
    path, query = fragment.split("?")
    assert path == "/experiments/7/runs"
    ((name, (value,)),) = parse_qs(query).items()
    scripts = (Path(mlflow.__file__).parent / "server" / "js" / "build" / "static" / "js").glob("*.js")
    code = "".join(script.read_text(encoding="utf-8") for script in scripts)
    assert f'.get("{name}")' in code
    assert re.search(rf'MACHINE_LEARNING="{value}"', code)
    assert '"/experiments/:experimentId/:tabName"' in code
