"""A service of one machine from its start to its end: what listens, and that nothing is left, however it ends."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from texthash.cluster import free_port
from texthash.paths import StateDir

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]
LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
END_WITHIN_S = 120.0  # docs/operations.md promises 30 s on a machine that is not busy
_REPLICA_CALL = "/ray.serve.ASGIService/HandleRequest"


@dataclass
class Running:
    """A service in a process of its own, ready."""

    program: subprocess.Popen[str]
    port: int
    log: Path

    @property
    def tree(self) -> list[psutil.Process]:
        return [psutil.Process(self.program.pid), *psutil.Process(self.program.pid).children(recursive=True)]

    def named(self, name: str) -> psutil.Process:
        (found,) = [process for process in self.tree if process.name() == name]
        return found

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def ended(self) -> int:
        return self.program.wait(timeout=END_WITHIN_S)


Start = Callable[..., Running]


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture
def start(released: StateDir, port: int, tmp_path: Path) -> Iterator[Start]:
    """Starts the service as a background job of a shell, where SIGINT is ignored; with a home directory of its own."""
    started: list[subprocess.Popen[str]] = []

    def begin(**environment: str) -> Running:
        log = tmp_path / "log"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TEXTHASH_"))}
        clean |= {"HOME": str(tmp_path), "TEXTHASH_HOME": str(released.root), **environment}
        words = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-m", "texthash", "serve"]
        with log.open("w") as file:
            program = subprocess.Popen([*words, f"service.port={port}"], env=clean, stdout=file, stderr=file, text=True)
        started.append(program)
        running = Running(program, port, log)
        while "READY" not in log.read_text():
            assert program.poll() is None, log.read_text()
            time.sleep(0.2)
        assert running.answers()
        return running

    yield begin
    for program in started:
        program.kill()
        program.wait()


def listening(process: psutil.Process) -> list[tuple[str, int]]:
    connections = process.net_connections(kind="inet")
    return [(item.laddr.ip, item.laddr.port) for item in connections if item.status == psutil.CONN_LISTEN]


def test_what_listens_beyond_loopback_takes_no_call_without_the_token(start: Start, tmp_path: Path) -> None:
    service = start()
    tree = {process: listening(process) for process in service.tree}
    assert ("127.0.0.1", service.port) in tree[service.named("haproxy")]
    beyond = {
        process: [port for ip, port in found if ip not in LOOPBACK]
        for process, found in tree.items()
        if any(ip not in LOOPBACK for ip, _ in found)
    }
    assert beyond, "replicas listen everywhere; where they do not any more docs/operations.md has to say so"
    assert all(process.cmdline()[0].startswith("ray::ServeReplica:") for process in beyond), beyond
    for ports in beyond.values():
        for port in ports:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(_REPLICA_CALL)(b"", timeout=20)
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED

    programs = {Path(word).name for process in tree for word in process.cmdline()[1:4]}
    assert not programs & {"monitor.py", "log_monitor.py", "dashboard.py"}, "a service does without these parts of Ray"
    assert "Terminated with signal" not in service.log.read_text(), "their end is no failure"

    token = tmp_path / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(f"/tmp/th{os.getuid()}").stat().st_mode) == 0o700

    tree_before_the_end = service.tree
    service.program.send_signal(signal.SIGINT)
    assert service.ended() == 0, service.log.read_text()
    assert_nothing_left(tree_before_the_end, service)


def assert_the_death_of_a_vital_part_ends_all_of_it(service: Running, victim: str) -> None:
    tree = service.tree
    chosen = service.named(victim)
    chosen.send_signal(signal.SIGKILL)
    status, said = service.ended(), service.log.read_text()
    assert status == 1, said
    assert f"error: the local Ray cluster has died: its {victim} (process {chosen.pid}) has ended." in said
    assert "remedy: run the command again" in said
    assert "Traceback" not in said
    assert_nothing_left(tree, service)


@pytest.mark.parametrize("victim", ["raylet", pytest.param("gcs_server", marks=pytest.mark.slow)])
def test_a_service_that_was_killed_is_not_in_the_way_of_the_next_which_ends_with_a_vital_part(
    start: Start, victim: str
) -> None:
    killed = start()
    tree = killed.tree
    proxies = [process for process in tree if process.name() == "haproxy"]
    assert proxies
    killed.program.send_signal(signal.SIGKILL)
    assert killed.ended() == -signal.SIGKILL
    _, left = psutil.wait_procs(proxies, timeout=60)
    assert left == [], "it would answer errors on the port"
    following = start()
    assert following.answers()
    assert not [process for process in tree if process.is_running()]
    assert_the_death_of_a_vital_part_ends_all_of_it(following, victim)


def assert_nothing_left(tree: list[psutil.Process], service: Running) -> None:
    _, left = psutil.wait_procs([process for process in tree if process.pid != service.program.pid], timeout=60)
    assert [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []
    assert not service.answers()


def test_without_a_token_nothing_is_started(released: StateDir) -> None:
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "TEXTHASH_HOME": str(released.root)}
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, "-m", "texthash", "serve", f"service.port={free_port()}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert "RAY_AUTH_MODE=disabled" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cluster_that_cannot_be_started_is_an_error_with_a_remedy(released: StateDir) -> None:
    """So few open files that Ray's own processes end while they start."""
    environment = {**os.environ, "TEXTHASH_HOME": str(released.root)}
    environment["RAY_py_gcs_connect_timeout_s"] = "2"  # in place of 30, for a process that has ended
    environment.pop("RAY_ADDRESS", None)
    command = f"ulimit -n 40; exec {sys.executable} -m texthash serve --python-proxy service.port={free_port()}"
    done = subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "error: no local Ray cluster could be started" in done.stderr
    assert "ulimit -n" in done.stderr
    assert "Traceback" not in done.stderr
