"""A study of retrieval is run by one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from texthash.experiments.retrieval.plan import RetrievalPlan
from texthash.experiments.retrieval.study import run_retrieval
from texthash.io.atomic import InUseError
from texthash.paths import StateDir

HOLD = """
import sys
from pathlib import Path
from texthash.io.atomic import claimed
with claimed(Path(sys.argv[1]), "it", ""):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    plan = RetrievalPlan.model_validate(
        {"name": "twice", "collections": {"absent": {"path": "absent"}}, "methods": {}, "keyword": {"bm25": {}}}
    )
    home = StateDir(tmp_path / "home")
    lock = home.runs / "retrieval" / ".twice.lock"
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(InUseError, match=f"the study twice is being done by process {first.pid}"):
            run_retrieval(plan, home, tmp_path)
        first.kill()
    outcome = run_retrieval(plan, home, tmp_path)
    assert list(outcome.left_out) == ["absent"]
