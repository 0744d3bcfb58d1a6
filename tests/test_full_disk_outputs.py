"""Outputs on a disk that becomes full at every step of writing them: one error with a remedy, and nothing is left."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import texthash
from tests.small_disk import SmallDisk, small_disk
from texthash.errors import as_user_error
from texthash.hamming.interop import write_codes, write_with_ids
from texthash.io.atomic import write_array, write_json
from texthash.models.hasher import Hasher
from texthash.reporting.report import Report
from texthash.training.checkpoints import write_state

_CODES = np.arange(400_000, dtype=np.uint8).reshape(-1, 4)
_IDS = [f"document/{row}" for row in range(len(_CODES))]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    with small_disk(tmp_path_factory.mktemp("full") / "disk", 16) as made:
        yield made


@pytest.fixture(scope="module")
def outputs(small_hasher: Path) -> dict[str, Callable[[Path], object]]:
    hasher = Hasher.load(small_hasher)
    page = Report("page " * 20_000, "text " * 20_000, {"a": b"a" * 50_000, "b": b"b" * 50_000}, "a,b\n" * 1_000)
    index = texthash.Index(texthash.load(small_hasher), [f"sort the array {row}" for row in range(500)])
    return {
        "report": page.save,
        "model": hasher.save,
        "index": index.save,
        "state": lambda path: write_state({"weights": torch.rand(100_000)}, path / "checkpoint.pt"),
        "array": lambda path: write_array(path / "codes.npy", _CODES),
        "parquet": lambda path: write_codes(path / "codes.parquet", _CODES, _IDS),
        "tsv": lambda path: write_codes(path / "codes.tsv", _CODES, _IDS),
        "npy": lambda path: write_with_ids(path / "codes.npy", _CODES, _IDS),
        "json": lambda path: write_json(path / "x.json", _IDS),
    }


@pytest.mark.parametrize("name", ["report", "model", "index", "state", "array", "parquet", "tsv", "npy", "json"])
def test_all_of_an_output_or_nothing(name: str, disk: SmallDisk, outputs: dict[str, Callable[[Path], object]]) -> None:
    target = disk.path / "output"
    files = name in ("state", "array", "parquet", "tsv", "npy", "json")
    refused = 0
    for pages in (0, 1, 2, 3, 4, 6, 9, 14, 20, 28, 40, 60, 80, 120):
        if files:
            target.mkdir()
        disk.fill(pages)
        error = failure(lambda: outputs[name](target))
        if error is not None:
            refused += 1
            known = as_user_error(error)
            assert known is not None, repr(error)
            assert "the disk is full" in known.problem
            assert str(target) in known.problem or "Error while serializing" in known.problem
            assert "make room" in known.remedy
            assert [path.name for path in disk.path.iterdir() if path.name != "ballast"] == (
                ["output"] if files else []
            )
            assert not files or not list(target.iterdir())
        disk.empty()
        remove(target)
    assert refused > 2
    outputs[name](target if not files else made(target))
    remove(target)


def test_a_report_replaces_its_files_and_leaves_those_of_others(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "notes.txt").write_text("mine")
    for text in ("first", "second"):
        assert Report(text, text, {"a": text.encode()}, text).save(tmp_path / "r").read_text() == text
    found = sorted(str(path.relative_to(tmp_path / "r")) for path in (tmp_path / "r").rglob("*"))
    assert found == ["metrics.csv", "notes.txt", "plots", "plots/a.png", "report.html", "report.md"]


def test_a_command_that_fails_leaves_no_folder(
    tmp_path: Path, run_cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    status, out, err = run_cli("report", "absent")
    assert (status > 0, out) == (True, "")
    assert "absent" in err
    run_cli("report", "absent", "--output", "a/b")
    assert not (tmp_path / "report").exists()
    assert not (tmp_path / "a").exists()
    (tmp_path / "kept").mkdir()
    run_cli("report", "absent", "--output", "kept")
    assert (tmp_path / "kept").is_dir()


def made(path: Path) -> Path:
    path.mkdir()
    return path


def remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def failure(act: Callable[[], object]) -> BaseException | None:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(act).exception()
