"""A sweep goes on although a full disk has cut off files in which Ray Tune keeps its state."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from texthash.tuning.ray_state import can_continue

_STATE, _PICKLE = '{"trial_data": [1, 2]}', pickle.dumps({"a": [1, 2]})


def state(folder: Path, stamp: str = "2026-01-01") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"experiment_state-{stamp}.json").write_text(_STATE)
    for name in (f"search_gen_state-{stamp}.json", f"searcher-state-{stamp}.pkl", "tuner.pkl"):
        (folder / name).write_bytes(_PICKLE)  # one is called json, and is none
    (folder / "sweep.json").write_text("{}")
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_whole_state_stays(tmp_path: Path) -> None:
    before = names(state(tmp_path / "sweep"))
    assert can_continue(tmp_path / "sweep")
    assert names(tmp_path / "sweep") == before
    assert not can_continue(tmp_path / "absent")


@pytest.mark.parametrize("name", ["experiment_state-2026-01-01.json", "searcher-state-2026-01-01.pkl", "tuner.pkl"])
@pytest.mark.parametrize("kept", [0, 12])
def test_trials_whose_state_is_cut_off_are_run_again(name: str, kept: int, tmp_path: Path) -> None:
    folder = state(tmp_path / "sweep")
    (folder / name).write_bytes((folder / name).read_bytes()[:kept])
    assert not can_continue(folder)
    assert names(folder) == {"sweep.json"}


def test_the_state_of_an_earlier_start_takes_the_place_of_a_broken_one(tmp_path: Path) -> None:
    folder = state(state(tmp_path / "sweep"), "2026-01-02")
    for name in ("experiment_state-2026-01-02.json", "searcher-state-2026-01-02.pkl"):
        (folder / name).write_bytes(b"")
    assert can_continue(folder)
    assert names(folder) == names(state(tmp_path / "whole")) | {"search_gen_state-2026-01-02.json"}
