"""All parts of the suite together say of its tests what one run without parts would say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest

def test_passes(): pass

def test_fails(): assert {fails!r} == "nothing"

def test_skips(): pytest.skip("no such thing here")

@pytest.mark.xfail
def test_is_expected_to_fail(): assert False

@pytest.mark.ray
def test_on_a_cluster(): pass

@pytest.mark.alone
@pytest.mark.browser
def test_alone(): pass
"""


def run_part(folder: Path, part: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    variables |= {"TEXTHASH_TEST_PART": part, "TEXTHASH_TEST_REPORTS": str(folder / "reports")}
    variables |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # what is installed beside pytest takes seconds to load
    command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "--durations=3", "test_suite.py"]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("fails", "status"), [("nothing", 0), ("one", 1)])
def test_the_last_part_counts_the_tests_of_all(tmp_path: Path, fails: str, status: int) -> None:
    shutil.copy(Path(__file__).with_name("parts.py"), tmp_path)
    (tmp_path / "conftest.py").write_text("from parts import pytest_configure\n", encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n    alone\n    ray\n    browser\n    gpu\n", encoding="utf-8"
    )
    (tmp_path / "test_suite.py").write_text(SUITE.format(fails=fails), encoding="utf-8")
    assert run_part(tmp_path, "beside").returncode == status
    assert run_part(tmp_path, "clusters").returncode == 0
    alone = run_part(tmp_path, "alone")
    assert "4 tests beside each other, 1 on clusters, 1 alone; a run without parts: 6" in alone.stdout, (
        alone.stdout + alone.stderr
    )
    assert "test_suite.py (beside)" in alone.stdout
    assert "test_suite.py (clusters)" in alone.stdout
    assert "no such thing here" in alone.stdout
    counts = alone.stdout.splitlines()[-1]
    assert ("1 failed" in counts) == (status == 1)
    assert all(part in counts for part in (f"{4 - status} passed", "1 skipped", "1 xfailed"))
