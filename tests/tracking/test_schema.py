"""The schema of a SQLite store: a disk that becomes full while it is made leaves nothing to trip over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_disk import small_disk
from texthash.config import TrackingConfig
from texthash.paths import StateDir
from texthash.tracking.failures import StoreError
from texthash.tracking.store import check_store

_CHECK = """
import sys
from pathlib import Path
from texthash.config import TrackingConfig
from texthash.errors import as_user_error
from texthash.paths import StateDir
from texthash.tracking.store import check_store
try:
    check_store(TrackingConfig(), StateDir(Path(sys.argv[1])))
except Exception as error:
    sys.exit(str(as_user_error(error)))
"""


def check(home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", _CHECK, home], capture_output=True, text=True, check=False)


def test_a_store_that_did_not_fit_is_made_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8) as disk:
        home = disk.path / "home"
        home.mkdir()
        disk.fill(60)
        refused = check(home)
        assert refused.returncode == 1, refused
        assert f"No space left on device: '{home / 'mlflow.db'}'" in refused.stderr
        assert list(home.iterdir()) == []
        disk.empty()
        made = check(home)
        assert made.returncode == 0, made.stderr
        assert [path.name for path in home.iterdir()] == ["mlflow.db"]


def test_a_store_on_a_disk_that_cannot_be_written_is_named_with_its_remedy(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
        with pytest.raises(StoreError) as refused:
            check_store(TrackingConfig(), StateDir(disk.path))
    assert "Read-only file system" in refused.value.problem
    assert str(disk.path / "mlflow.db") in refused.value.problem
    assert refused.value.remedy.startswith("grant access to the file of the store")
