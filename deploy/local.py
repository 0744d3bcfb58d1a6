"""Quickstart on one machine: a local Ray head, the pipeline as a Ray job, the MLflow UI, a first query.

deploy/quickstart.sh runs this script in ``.venv``. The started processes are recorded in
``TEXTHASH_HOME/run/quickstart.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import processes
from probes import HOST, Failure, answers, answers_port, fresh, require_free, say, tool, wait

from texthash.cluster import LOOPBACK, free_port
from texthash.errors import TexthashError
from texthash.index.fusion import Fusion
from texthash.paths import StateDir
from texthash.private import use_token
from texthash.service import haproxy
from texthash.tracking import commit
from texthash.tracking.links import runs_page

ROOT = Path(__file__).resolve().parent.parent
OBJECT_STORE_BYTES = 1_000_000_000
_OF_ANOTHER_CLUSTER = {"RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_TMPDIR"}
DEFAULT_QUERY = "read a csv file into a table"
# Lines of Ray about packaging, submitting and following a job, and about arguments of an actor of Ray Train. They are
# written to the log only.
SUBMISSION = re.compile(
    r"[\d-]+ [\d:,]+\s+(INFO|SUCC|WARNING) (cli|dashboard_sdk|job_manager|packaging|sdk|working_dir)\.py:"
    r"|\[[\d-]+ [\d:,]+ E \d+ \d+\] core_worker\.cc:\d+: Actor with class name: 'PreemptionWatcher' "
)


@dataclass(frozen=True)
class Quickstart:
    """Record of a running quickstart.

    Attributes:
        mark: Mark of its processes.
        port: Port of the search service.
        mlflow_port: Port of the MLflow UI.
        proxy: haproxy or python.
        dashboard: URL of the Ray dashboard.
        ray: Process id of the session leader of Ray.
        mlflow: Process id of the session leader of MLflow; None until it is started.
    """

    mark: str
    port: int
    mlflow_port: int
    proxy: str
    dashboard: str
    ray: int
    mlflow: int | None = None

    @classmethod
    def read(cls, path: Path) -> Quickstart | None:
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            raise Failure(f"{path} is damaged; end the processes it names by hand and delete it.") from None

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        new.replace(path)

    @property
    def leaders(self) -> list[int]:
        return [self.ray] + ([self.mlflow] if self.mlflow else [])

    def alive(self, leader: int | None) -> bool:
        return leader in {process.pid for process in processes.find(self.mark, self.leaders)}


class Local:
    """Steps of the quickstart; each can be repeated safely."""

    def __init__(self, home: Path, port: int, mlflow_port: int, proxy: str) -> None:
        self.home, self.port, self.mlflow_port, self.proxy = home, port, mlflow_port, proxy
        self.record = home / "run" / "quickstart.json"
        self.logs = home / "run" / "logs"
        # It contains sockets, whose paths HAProxy limits to 97 bytes, 69 of which follow Serve's directory.
        self.scratch = Path(f"/tmp/th{os.getuid()}-{hashlib.sha256(bytes(home)).hexdigest()[:6]}")
        self.sessions = self.scratch / "r"  # Ray opens its directory to all users; the parent excludes them.

    def environment(self) -> dict[str, str]:
        """Return the environment of Ray, its command line and the job: token authentication, no usage statistics."""
        inherited = {key: value for key, value in os.environ.items() if key not in _OF_ANOTHER_CLUSTER}
        return inherited | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            **use_token(),
            **LOOPBACK,
            "RAY_USAGE_STATS_ENABLED": "0",
            "TEXTHASH_HOME": str(self.home),
        }

    def start_cluster(self) -> Quickstart:
        known = Quickstart.read(self.record)
        if known and known.alive(known.ray):
            self._check_same(known)
            say(f"Ray head: using the running one (dashboard {known.dashboard})")
            return known
        if known:
            processes.stop(known.mark, known.leaders)
            self.record.unlink()
        for port, option in ((self.port, "--port"), (self.mlflow_port, "--mlflow-port")):
            require_free(port, option)
        say("Ray head: starting")
        StateDir(self.home).make()
        self._prepare_scratch()
        mark = f"quickstart-{uuid.uuid4().hex}"
        dashboard_port = free_port()
        dashboard = f"http://{HOST}:{dashboard_port}"
        log = fresh(self.logs / "ray.log")
        leader = processes.spawn(self._ray_command(dashboard_port), log, mark, self._cluster_environment(dashboard))
        started = Quickstart(mark, self.port, self.mlflow_port, self.proxy, dashboard, leader)
        started.write(self.record)
        wait(
            lambda: answers(f"{started.dashboard}/api/version"),
            lambda: started.alive(leader),
            "Ray head",
            log,
            seconds=90,
        )
        say(f"Ray head: up (dashboard {started.dashboard})")
        return started

    def run_job(self, running: Quickstart, config: Path) -> None:
        """Submit pipelines/full.py and print its output, without Ray's messages about the submission.

        Raises:
            Failure: The port is taken, or the pipeline failed.
        """
        if answers_port(self.port) and not processes.listens(processes.find(running.mark, running.leaders), self.port):
            raise Failure(f"port {self.port} is taken by another program; run --stop and choose one with --port.")
        variables = {key: value for key, value in self.environment().items() if key.startswith("TEXTHASH_")}
        variables.pop(processes.MARK, None)
        variables.pop("TEXTHASH_API_KEY", None)  # The cluster has it; every user can read a command line.
        variables.setdefault("TEXTHASH_COMMIT", commit())  # The job's copy has no history.
        if "TEXTHASH_DATA" in variables:
            variables["TEXTHASH_DATA"] = str(Path(variables["TEXTHASH_DATA"]).absolute())
        command = [tool("ray"), "job", "submit", "--address", running.dashboard, "--working-dir", str(ROOT)]
        command += ["--runtime-env-json", json.dumps({"env_vars": variables}), "--", "python", "pipelines/full.py"]
        command += [
            "--config",
            str(config),
            f"--mlflow-port={self.mlflow_port}",
            f"service.host={HOST}",
            f"service.port={self.port}",
            "service.route_prefix=/",
        ]
        say(f"job: ray {shlex.join(command[1:])}")
        log = fresh(self.logs / "job.log")
        with (
            log.open("w", encoding="utf-8") as copy,
            subprocess.Popen(
                command,
                env=self.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                encoding="utf-8",
            ) as job,
        ):
            assert job.stdout is not None
            for line in job.stdout:
                copy.write(line)
                if not SUBMISSION.match(line):
                    sys.stderr.write(line)
        if job.returncode:
            raise Failure(
                f"the pipeline failed; its last lines are above, the log is {log}. Correct it and run this again."
            )
        say("job: done")

    def start_mlflow(self, running: Quickstart) -> Quickstart:
        if running.alive(running.mlflow):
            say("MLflow UI: using the running one")
            return running
        require_free(self.mlflow_port, "--mlflow-port")
        say("MLflow UI: starting")
        log = fresh(self.logs / "mlflow.log")
        command = [tool("mlflow"), "server", "--host", HOST, "--port", str(self.mlflow_port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.home / 'mlflow.db'}"]
        command += ["--artifacts-destination", (self.home / "mlartifacts").as_uri()]
        # Only MLflow's evaluation of language models needs the job runner; without it two processes fewer run.
        environment = self.environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        leader = processes.spawn(command, log, running.mark, environment)
        running = Quickstart(**{**asdict(running), "mlflow": leader})
        running.write(self.record)
        wait(
            lambda: answers(f"http://{HOST}:{self.mlflow_port}/health"),
            lambda: running.alive(leader),
            "MLflow UI",
            log,
            seconds=120,
        )
        return running

    def wait_ready(self, running: Quickstart) -> None:
        say("search service: waiting until every shard answers")
        wait(
            lambda: answers(f"http://{HOST}:{self.port}/health/ready"),
            lambda: running.alive(running.ray),
            "search service",
            self.sessions / "session_latest" / "logs" / "serve",
            seconds=180,
        )

    def stop(self) -> None:
        running = Quickstart.read(self.record)
        if running is None:
            say("nothing to stop")
            return
        names = processes.stop(running.mark, running.leaders)
        self.record.unlink(missing_ok=True)
        shutil.rmtree(self.scratch, ignore_errors=True)
        say(f"stopped {len(names)} processes; the state stays in {self.home}")

    def _check_same(self, known: Quickstart) -> None:
        wanted = (self.port, self.mlflow_port, self.proxy)
        present = (known.port, known.mlflow_port, known.proxy)
        if wanted != present:
            raise Failure(
                "a quickstart is running with --port {} --mlflow-port {} and the {} proxy; "
                "use the same or run --stop first.".format(*present)
            )

    def _prepare_scratch(self) -> None:
        """Create the private scratch directory; in the shared /tmp, one of another user is an error."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        try:
            self.scratch.mkdir(mode=0o700)
            (self.scratch / "h").mkdir()
            self.sessions.mkdir()
        except OSError as error:
            raise Failure(f"{self.scratch} cannot be created ({error.strerror}); have it removed.") from None

    def _ray_command(self, dashboard_port: int) -> list[str]:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return [
            *(tool("ray"), "start", "--head", "--block", "--disable-usage-stats", f"--node-ip-address={HOST}"),
            *(f"--port={free_port()}", f"--ray-client-server-port={free_port()}", "--dashboard-agent-listen-port=0"),
            *("--min-worker-port=0", "--max-worker-port=0"),
            *(f"--dashboard-host={HOST}", f"--dashboard-port={dashboard_port}"),
            *(
                f"--num-cpus={max(2, cores)}",
                f"--object-store-memory={OBJECT_STORE_BYTES}",
                f"--temp-dir={self.sessions}",
            ),
        ]

    def _cluster_environment(self, dashboard: str) -> dict[str, str]:
        """Return the environment of the Ray head, which its workers inherit.

        Actors of Ray Train ask the dashboard which actors are alive. Without its address they search the machine for a
        cluster, and fail with a traceback if another user or program runs one too.
        """
        return self.environment() | self._serve_environment() | {"RAY_API_SERVER_ADDRESS": dashboard}

    def _serve_environment(self) -> dict[str, str]:
        """Return the settings that Serve reads when the cluster starts."""
        common = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
        return common | (haproxy.COMMON if self.proxy == "python" else haproxy.of_one_machine(self.scratch / "h"))


def ask(port: int, query: str) -> str:
    """Search over HTTP, and return the hits as lines of text."""
    body = {"queries": [{"text": query}], "limit": 5, "fields": ["title", "text", "labels"]}
    key = os.environ.get("TEXTHASH_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    reply = httpx.post(f"http://{HOST}:{port}/v1/search", json=body, headers=headers, timeout=60, trust_env=False)
    if reply.status_code != 200:
        raise Failure(f"the search service answered {reply.status_code} to a query: {reply.text[:200]}")
    info = httpx.get(f"http://{HOST}:{port}/v1/info", headers=headers, timeout=60, trust_env=False).json()
    defaults = info["index"].get("search_defaults") or {}
    found = reply.json()
    lines = [f'query: "{query}"']
    if found["mode"] == "hybrid":
        lines.append(f"order: {order(defaults.get('weight', Fusion().weight))}")
    lines.append("found by         document")
    for hit in found["results"][0]["hits"]:
        document = hit.get("document") or {}
        text = " ".join((document.get("text") or "").split())
        title = document.get("title") or hit["id"]
        sides = [name for side, name in (("semantic", "meaning"), ("keyword", "words")) if hit.get(side)]
        lines.append(f"{' + '.join(sides) or 'meaning':17}{title}: {text[:90]}")
    return "\n".join(lines)


def order(weight: float) -> str:
    """Return what the hits of a hybrid search are ordered by, in words.

    Args:
        weight: Weight of the meaning, 0 to 1, as the release has it.
    """
    if weight in (0.0, 1.0):
        side = "meaning" if weight else "words"
        return f"by {side} alone, which was best on validation; `texthash search --weight` changes it"
    return f"{weight:.0%} by meaning, {1 - weight:.0%} by words"


def newest_runs(server: str) -> str:
    """Return the URL of the runs of the most recent experiment; that of the server while no experiment exists."""
    order = {"max_results": 1, "order_by": ["last_update_time DESC"]}
    reply = httpx.post(f"{server}/api/2.0/mlflow/experiments/search", json=order, timeout=30, trust_env=False)
    found = reply.json().get("experiments", []) if reply.status_code == 200 else []
    return runs_page(server, found[0]["experiment_id"]) if found else server


def summary(local: Local, running: Quickstart) -> str:
    """Return the addresses of the running quickstart as lines of text."""
    address = f"http://{HOST}:{local.port}"
    stop = f"bash {shlex.quote(str(ROOT / 'deploy' / 'quickstart.sh'))} --stop"
    if local.home != ROOT / ".texthash":
        stop = f"TEXTHASH_HOME={shlex.quote(str(local.home))} {stop}"
    rows = (
        ("search page", f"{address}/"),
        ("HTTP API", f"{address}/docs"),
        ("MLflow UI", newest_runs(f"http://{HOST}:{local.mlflow_port}")),
        ("Ray dashboard", f"{running.dashboard} (token: ray get-auth-token)"),
        ("another job", f"RAY_AUTH_MODE=token RAY_ADDRESS={running.dashboard} ray job submit --working-dir . -- …"),
        ("state and logs", str(local.home)),
        ("stop it all", stop),
    )
    return "\n".join(f"{name + ':':16}{value}" for name, value in rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="deploy/local.py", description=__doc__)
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "quickstart.yaml")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    parser.add_argument("--proxy", choices=["haproxy", "python"], default="haproxy")
    parser.add_argument("--query", default=DEFAULT_QUERY)
    options = parser.parse_args()
    local = Local(options.home.absolute(), options.port, options.mlflow_port, options.proxy)
    try:
        if options.action == "stop":
            local.stop()
            return 0
        running = local.start_cluster()
        local.run_job(running, options.config)
        running = local.start_mlflow(running)
        local.wait_ready(running)
        hits = ask(options.port, options.query)
    except (Failure, TexthashError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; started processes keep running. End them with --stop.", file=sys.stderr)
        return 130
    say("ready")
    print(f"\n{hits}\n\n{summary(local, running)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
