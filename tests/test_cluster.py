"""The cluster that a program starts for itself, on a machine where others may run."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os
from texthash.cluster import cluster

with cluster():
    import ray  # as in the commands: what is set before counts

    assert "RAY_ADDRESS" not in os.environ, "the program itself may start another"
    own = ray.get_runtime_context().gcs_address
    found = ray.get(ray.remote(num_cpus=0)(lambda: os.environ.get("RAY_ADDRESS")).remote())
    assert found == own, (found, own)
"""


@pytest.mark.ray
def test_what_runs_on_a_local_cluster_is_told_its_address() -> None:
    """Without it, parts of Ray Train take any cluster of the machine for theirs."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
