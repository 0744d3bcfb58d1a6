"""The cluster that a program starts for itself, on a machine where others may run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from texthash.interrupts import leave_on_signals

PROGRAM = """
import os
from texthash.cluster import cluster

with cluster():
    import ray  # as in the commands: what is set before counts

    assert "RAY_ADDRESS" not in os.environ, "the program itself may start another"
    own = ray.get_runtime_context().gcs_address
    found = ray.get(ray.remote(num_cpus=0)(lambda: os.environ.get("RAY_ADDRESS")).remote())
    assert found == own, (found, own)
    pings = "RAY_grpc_client_keepalive_time_ms"
    found = ray.get(ray.remote(num_cpus=0)(lambda: os.environ.get(pings)).remote())
    assert found == os.environ[pings] == "20000", found
"""

JOINING = """
import os
import ray
from ray.cluster_utils import Cluster
from texthash.cluster import cluster

own = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
try:
    with cluster(own.address):
        assert not [name for name in os.environ if "keepalive" in name]
finally:
    own.shutdown()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_what_has_a_cluster_in_order(number: signal.Signals) -> None:
    before, cleaned = signal.signal(number, signal.SIG_DFL), []

    def leave() -> None:
        with leave_on_signals():
            try:
                os.kill(os.getpid(), number)
                signal.pause()
            finally:
                cleaned.append(number)

    try:
        with pytest.raises(SystemExit) as left:
            leave()
        assert (left.value.code, cleaned, signal.getsignal(number)) == (128 + number, [number], signal.SIG_DFL)
    finally:
        signal.signal(number, before)


@pytest.mark.ray
def test_what_runs_on_a_local_cluster_is_told_its_address() -> None:
    """Without it, parts of Ray Train take any cluster of the machine for theirs."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.ray
def test_a_program_that_joins_a_cluster_sends_pings_as_the_cluster_expects() -> None:
    """A server of Ray ends the connection, and the call, of a client that sends them more often than it does itself."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run([sys.executable, "-c", JOINING], capture_output=True, text=True, env=clean)
    assert done.returncode == 0, done.stderr
