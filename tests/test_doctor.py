"""Checks of the machine."""

import tomllib
from pathlib import Path

import pytest

from texthash import doctor

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("line", [entry.rpartition(" ")[2] for entry in PROJECT["classifiers"] if ":: 3." in entry])
def test_every_supported_python_is_accepted(line, monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (*map(int, line.split(".")), 0))
    (found,) = doctor._python()
    assert found.state == "ok"


def test_another_python_is_rejected_with_the_supported_ones(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 15, 0))
    (found,) = doctor._python()
    assert found.state == "wrong"
    assert "3.14" in found.remedy
