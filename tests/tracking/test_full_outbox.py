"""The outbox on a disk that becomes full: nothing half-kept is sent later, and it goes on when there is room."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.small_disk import small_disk
from texthash.errors import as_user_error
from texthash.tracking.failures import StoreFullError, StoreUnavailableError
from texthash.tracking.outbox import Outbox
from texthash.tracking.store import client_of
from texthash.tracking.unsent import ENTRIES, FILES, REFUSED, RunStart, read_entry

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


def test_what_does_not_fit_into_the_store_is_sent_when_there_is_room(tmp_path: Path) -> None:
    artifact = tmp_path / "report"
    artifact.mkdir()
    (artifact / "a.bin").write_bytes(bytes(120_000))
    client_of(f"sqlite:///{tmp_path / 'empty.db'}")
    with small_disk(tmp_path / "disk", 16) as disk:
        shutil.copyfile(tmp_path / "empty.db", disk.path / "mlflow.db")
        uri = f"sqlite:///{disk.path / 'mlflow.db'}"
        client = client_of(uri)
        experiment = client.create_experiment("an experiment", str(disk.path / "artifacts"))
        outbox = Outbox(tmp_path / "unsent")
        errors = []
        for pages in (0, 24, 45):
            outbox.store_failed(uri, StoreUnavailableError("away", ""))
            run = outbox.begin(uri, RunStart("an experiment", f"run{pages}", {}, 1))
            for step in range(3):
                values = {f"a metric {'m' * 200}": 1.0}
                outbox.put(uri, run, {"op": "metrics", "values": values, "time": 1, "step": step, "model": None})
            outbox.put(uri, run, {"op": "artifact", "path": str(artifact), "folder": None})
            outbox.put(uri, run, {"op": "params", "values": {f"p{number}": "v" * 3000 for number in range(20)}})
            disk.fill(pages)
            with pytest.raises((StoreFullError, OSError), match=r"full|No space left") as failed:
                outbox.send_all()
            errors.append(failed.type)
            disk.empty()
            outbox.send_all()
            (sent,) = client.search_runs([experiment], f"run_name = 'run{pages}'")
            assert (len(sent.data.metrics), len(sent.data.params)) == (1, 20)
            assert [file.path for file in client.list_artifacts(sent.info.run_id)] == ["a.bin"]
        assert set(errors) == {StoreFullError, OSError}, "of the database, and of the artifacts"
        assert outbox.pending() == {}
        assert list(outbox.root.glob(f"*/{REFUSED}")) == []
