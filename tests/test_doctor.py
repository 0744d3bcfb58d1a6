"""Checks of the machine."""

import tomllib
from pathlib import Path

import pytest

from texthash import doctor
from texthash.config import Config
from texthash.paths import StateDir

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


def test_a_check_that_cannot_be_made_is_a_finding_beside_the_others(tmp_path):
    home = StateDir(tmp_path)
    (tmp_path / "releases").write_text("in the way")
    found = {finding.check: finding for finding in doctor.examine(Config(), home)}
    assert found["release"].state == "wrong"
    assert str(tmp_path) in found["release"].found
    assert found["release"].remedy
    assert found["corpora"].state == found["python"].state == "ok"
