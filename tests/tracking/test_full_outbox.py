"""The outbox on a disk that becomes full: nothing half-kept is sent later, and it goes on when there is room."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.small_disk import small_disk
from texthash.errors import as_user_error
from texthash.tracking.outbox import Outbox
from texthash.tracking.store import StoreUnavailableError
from texthash.tracking.unsent import ENTRIES, FILES, RunStart, read_entry

AWAY = "http://127.0.0.1:1"


def test_entries_and_artifacts_that_did_not_fit_leave_nothing(tmp_path: Path) -> None:
    artifact = tmp_path / "report"
    artifact.mkdir()
    for name in ("a.bin", "b.bin"):
        (artifact / name).write_bytes(bytes(20_000))
    with small_disk(tmp_path / "disk", 4) as disk:
        outbox = Outbox(disk.path / "unsent")
        outbox.store_failed(AWAY, StoreUnavailableError("away", ""))
        run = outbox.begin(AWAY, RunStart("an experiment", "a run", {}, 1))
        folder, failed = outbox.root / run, 0
        for pages in range(14):
            disk.fill(pages)
            try:
                outbox.put(AWAY, run, {"op": "artifact", "path": str(artifact), "folder": None})
            except OSError as error:
                failed += 1
                known = as_user_error(error)
                assert known is not None
                assert "the disk is full" in known.problem
                assert str(folder) in known.problem
                assert [path for path in folder.rglob("*.bin") if path.is_file()] == []
            else:
                break
            finally:
                disk.empty()
            outbox.put(AWAY, run, {"op": "params", "values": {f"after{pages}": "room"}})
        assert failed > 8
        with pytest.raises(OSError, match=f"No space left on device: '{outbox.root}"):
            disk.fill() or outbox.begin(AWAY, RunStart("an experiment", "another", {}, 1))
        disk.empty()
        lines = (folder / ENTRIES).read_text(encoding="utf-8").splitlines()
        entries = [read_entry(line, folder / FILES) for line in lines]
        assert [entry["op"] for entry in entries] == ["params"] * failed + ["artifact"]
        assert {path.name for path in Path(entries[-1]["path"]).iterdir()} == {"a.bin", "b.bin"}
        assert list(outbox.pending()) == [run]
