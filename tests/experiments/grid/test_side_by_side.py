"""Cells side by side on a Ray cluster: the same cells, the same figures, a failure told."""

from __future__ import annotations

import pytest

from texthash.errors import TexthashError
from texthash.executor import LocalExecutor, RayExecutor
from texthash.experiments.grid.folder import StudyFolder
from texthash.experiments.grid.plan import parse_plan
from texthash.experiments.grid.run import run_study, status
from texthash.paths import StateDir

pytestmark = pytest.mark.ray


def test_cells_run_side_by_side_and_a_failed_one_is_told(ray_cluster, small_config, tmp_path):
    corpus = small_config.model_copy(update={"limit": 400}).model_dump(mode="json")
    values = {
        "name": "both",
        "bits": [8],
        "methods": {"lsh": {"seeds": [0, 1]}, "broken": {"method": "pcah", "bits": [512]}},
    }
    plan = parse_plan({**values, "corpora": [{"corpus": corpus}]}, tmp_path, "the file")
    home, alone = StateDir(tmp_path / "ray"), StateDir(tmp_path / "alone")
    for place, executor in ((home, RayExecutor()), (alone, LocalExecutor())):
        with pytest.raises(TexthashError, match=r"1 of 4 cells .*broken 512 seed 0 .*512 principal components"):
            run_study(plan, place, executor=executor)
    rows = [status(StudyFolder.open(place, "both")) for place in (home, alone)]
    for one, other in zip(*rows, strict=True):
        assert (one["cell"], one["state"], one["validation"]) == (other["cell"], other["state"], other["validation"])
    assert [row["state"] for row in rows[0]].count("done") == 3
