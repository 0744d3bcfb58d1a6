"""What a person meets when something is missing or wrong: one line that says so, and the right exit status."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from texthash.cluster import free_port

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("deploy/common.sh", "deploy/setup.sh", "deploy/quickstart.sh", "deploy/nodes.sh", "tests/run.sh", ".ci/run")
TOOLS = ("bash", "awk", "basename", "cat", "cut", "date", "df", "dirname", "grep", "mkdir", "mv", "paste", "rm", "sed")
TOOLS += ("sort", "tail", "tr", "uname")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What a fresh clone holds of the scripts, without an environment."""
    root = tmp_path / "clone with space"
    shutil.copytree(ROOT / "deploy", root / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "configs").mkdir()
    (root / "configs" / "quickstart.yaml").write_text("{}\n")
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A directory for PATH with the usual tools and no Python."""
    place = tmp_path / "bin"
    place.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found, name
        (place / name).symlink_to(found)
    return place


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def run(script: Path, *arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if key not in {"PYTHON", "TEXTHASH_HOME"}}
    return subprocess.run(
        ["bash", str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env=inherited | environment,
        check=False,
    )


def executable(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(f"#!{shutil.which('bash')}\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_parse(script: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


def test_scripts_pass_shellcheck() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed (Debian: apt-get install shellcheck)")
    command = ["shellcheck", "-x", "-P", str(ROOT / "deploy"), *(str(ROOT / script) for script in SCRIPTS)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("script", ["deploy/setup.sh", "deploy/quickstart.sh"])
def test_help_names_every_option(script: str) -> None:
    result = run(ROOT / script, "--help")
    assert result.returncode == 0
    handled = [
        line.strip().split(")")[0].split(" ")[0]
        for line in (ROOT / script).read_text().splitlines()
        if line.strip().startswith("--") and ")" in line
    ]
    assert len(handled) >= 4
    assert [option for option in handled if option not in result.stdout] == []


@pytest.mark.parametrize(
    ("script", "arguments", "named"),
    [
        ("setup.sh", ["--frobnicate"], "--frobnicate"),
        ("setup.sh", ["--extras", "test; rm"], "test; rm"),
        ("setup.sh", ["--torch-index"], "--torch-index"),
        ("quickstart.sh", ["--frobnicate"], "--frobnicate"),
        ("quickstart.sh", ["--port", "http"], "http"),
        ("quickstart.sh", ["--port", "70000"], "70000"),
        ("quickstart.sh", ["--mlflow-port", "0"], "0"),
        ("quickstart.sh", ["--config", "nowhere.yaml"], "nowhere.yaml"),
        ("quickstart.sh", ["--port", "9000", "--mlflow-port", "9000"], "9000"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(clone: Path, script: str, arguments: list[str], named: str) -> None:
    result = run(clone / "deploy" / script, *arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert named in result.stderr


def test_no_python_is_one_line_and_status_2(clone: Path, tools: Path) -> None:
    result = run(clone / "deploy" / "setup.sh", PATH=str(tools))
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "no Python 3.11, 3.12, 3.13 or 3.14" in result.stderr
    assert not (clone / ".venv").exists()


def test_an_unsuitable_python_is_named(clone: Path, tools: Path) -> None:
    executable(tools / "oldpython", "exit 1")
    result = run(clone / "deploy" / "setup.sh", PATH=str(tools), PYTHON="oldpython")
    assert result.returncode == 2
    assert "PYTHON=oldpython" in result.stderr


def test_a_python_without_venv_gets_the_remedy(clone: Path, tools: Path) -> None:
    executable(tools / "python3", f'[[ "$*" == *ensurepip* ]] && exit 1; exec {sys.executable} "$@"')
    result = run(clone / "deploy" / "setup.sh", PATH=str(tools))
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "apt-get install python3-venv" in result.stderr


def test_too_little_disk_is_said_before_anything_is_written(clone: Path, tools: Path) -> None:
    executable(tools / "df", "printf 'Filesystem blocks Used Available\\n/dev/x 9 9 2097152\\n'")
    result = run(clone / "deploy" / "setup.sh", PATH=str(tools))
    assert result.returncode == 1
    assert "only 2 GB free" in result.stderr
    assert not (clone / ".venv").exists()


def test_a_directory_that_is_no_environment_is_not_removed(clone: Path) -> None:
    (clone / ".venv").mkdir()
    (clone / ".venv" / "precious").touch()
    result = run(clone / "deploy" / "setup.sh")
    assert result.returncode == 1
    assert "is no virtual environment" in result.stderr
    assert (clone / ".venv" / "precious").exists()


def set_up_with_stubs(
    clone: Path, tools: Path, script: str = "setup.sh", *, uv: str, settings: str = "", **environment: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a script whose pip and uv only write down how they were called; return its result and the calls."""
    executable(tools / "df", "printf 'Filesystem blocks Used Available\\n/dev/x 9 9 9999999\\n'")
    calls = clone / "calls"
    call = 'keeps=${PYTHONDONTWRITEBYTECODE-yes} index=${UV_DEFAULT_INDEX-none} $(basename "$0") $*'
    note = f"""echo "{call}" >>'{calls}'"""
    stub = f"""case "$*" in
        "-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
        "-m pip config"*) printf '%s\\n' {settings} ;;
        "-m pip"* | *local.py*) {note} ;;
        *) exec {sys.executable} "$@" ;;
        esac"""
    executable(tools / "stub", stub)
    executable(tools / "uv", f"{note}; {uv}")
    ports = ["--port", str(free_port()), "--mlflow-port", str(free_port())] if script == "quickstart.sh" else []
    path = f"{tools}:{os.environ['PATH']}"
    result = run(clone / "deploy" / script, *ports, PATH=path, PYTHON=str(tools / "stub"), **environment)
    return result, calls.read_text().splitlines()


@pytest.mark.parametrize("uv", ["exit 0", "exit 1"])
@pytest.mark.parametrize(("script", "variable"), [("setup.sh", ""), ("setup.sh", "1"), ("quickstart.sh", "1")])
def test_processes_share_what_one_of_them_has_compiled(
    clone: Path, tools: Path, script: str, variable: str, uv: str
) -> None:
    result, calls = set_up_with_stubs(clone, tools, script, uv=uv, PYTHONDONTWRITEBYTECODE=variable)
    assert result.returncode == 0, result.stderr
    installed = [line.split() for line in calls if "pip install" in line]
    compiled = bool(variable) and script == "setup.sh"
    assert len(installed) == (2 if uv == "exit 0" else 3)  # after a failure of uv, pip installs the same and the rest
    assert all((bool({"--compile", "--compile-bytecode"} & set(call))) == compiled for call in installed)
    if script == "quickstart.sh":
        assert all(line.startswith("keeps=yes ") for line in calls)  # the program that starts all others among them
        assert any("local.py" in line for line in calls)


def test_uv_installs_from_the_index_of_pip(clone: Path, tools: Path) -> None:
    index = "https://user:secret@host/simple"
    result, calls = set_up_with_stubs(clone, tools, uv="exit 0", settings=f"\"global.index-url='{index}'\"")
    assert result.returncode == 0, result.stderr
    assert [f"index={index} uv pip install" in call for call in calls] == [True, True]
    assert "secret" not in result.stderr


def test_what_uv_cannot_install_pip_installs(clone: Path, tools: Path) -> None:
    result, calls = set_up_with_stubs(clone, tools, uv="exit 1")
    assert result.returncode == 0, result.stderr
    torch, again, rest = calls
    assert " uv pip install" in torch
    assert [" python -m pip install" in call for call in (again, rest)] == [True, True]
    assert torch.split()[-3:] == again.split()[-3:]
    assert "uv could not install torch==" in result.stderr


def test_a_setting_that_uv_does_not_know_leaves_the_work_to_pip(clone: Path, tools: Path) -> None:
    settings = "\"global.index-url='https://host/simple'\" \"install.platform='musllinux'\""
    result, calls = set_up_with_stubs(clone, tools, uv="exit 0", settings=settings)
    assert result.returncode == 0, result.stderr
    assert [" python -m pip install" in call for call in calls] == [True, True]
    assert "no word for a setting of pip: platform" in result.stderr


def test_settings_of_pip_in_the_words_of_uv(tmp_path: Path) -> None:
    lines = [
        "global.index-url='https://one/simple'",
        ":env:.index-url='https://three/simple'",
        "install.index-url='https://two/simple'",
        f"global.extra-index-url='file://{tmp_path}\\nfile://{tmp_path}/missing https://four/simple'",
        "global.find-links='/wheels /more'",
        ":env:.default-timeout='9'",
        ":env:.disable-pip-version-check='1'",
        "wheel.platform='x'",
    ]
    command = [sys.executable, str(ROOT / "deploy" / "uv_settings.py")]
    result = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True)
    assert dict(line.split("=", 1) for line in result.stdout.splitlines()) == {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_DEFAULT_INDEX": "https://three/simple",
        "UV_INDEX": f"file://{tmp_path} https://four/simple",
        "UV_FIND_LINKS": "/wheels,/more",
        "UV_HTTP_TIMEOUT": "9",
    }


@pytest.mark.parametrize("option", ["--port", "--mlflow-port"])
def test_a_taken_port_is_one_line_and_status_1(clone: Path, taken_port: int, option: str) -> None:
    ports = {"--port": str(free_port()), "--mlflow-port": str(free_port())} | {option: str(taken_port)}
    result = run(clone / "deploy" / "quickstart.sh", *(word for item in ports.items() for word in item))
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"port {taken_port} is taken" in result.stderr
    assert option in result.stderr
    assert not (clone / ".venv").exists()


def test_stop_with_nothing_running_is_no_error(clone: Path, tmp_path: Path) -> None:
    result = run(clone / "deploy" / "quickstart.sh", "--stop", cwd=tmp_path)
    assert result.returncode == 0
    assert "nothing to stop" in result.stderr


def test_stop_ends_what_was_started_and_nothing_else(clone: Path, tmp_path: Path) -> None:
    mark = f"test-{uuid.uuid4().hex}"
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "start_new_session": True}
    sleeper = [sys.executable, "-c", "import time; time.sleep(120)"]
    # A leader with the mark; a child without it, in the leader's session, as Ray's workers are; and a stranger.
    parent = (
        f"import subprocess, time; subprocess.Popen({sleeper!r}, env={{}}, stdout=subprocess.DEVNULL); "
        "print('up', flush=True); time.sleep(120)"
    )
    leader = subprocess.Popen(
        [sys.executable, "-c", parent],
        **{**quiet, "stdout": subprocess.PIPE},
        env=os.environ | {"TEXTHASH_MARK": mark},
    )
    stranger = subprocess.Popen(sleeper, **quiet)
    try:
        assert leader.stdout is not None
        assert leader.stdout.readline() == b"up\n"
        children = psutil.Process(leader.pid).children()
        assert len(children) == 1
        record = {"mark": mark, "port": 1, "mlflow_port": 2, "proxy": "python", "dashboard": "", "ray": leader.pid}
        home = tmp_path / "home"
        (home / "run").mkdir(parents=True)
        (home / "run" / "quickstart.json").write_text(json.dumps(record))
        (clone / ".venv" / "bin").mkdir(parents=True)
        executable(clone / ".venv" / "bin" / "python", f'exec {sys.executable} "$@"')

        result = run(clone / "deploy" / "quickstart.sh", "--stop", TEXTHASH_HOME=str(home))

        assert result.returncode == 0, result.stderr
        assert "stopped 2 processes" in result.stderr
        assert leader.wait(timeout=5) != 0
        assert not children[0].is_running() or children[0].status() == psutil.STATUS_ZOMBIE
        assert stranger.poll() is None
        assert not (home / "run" / "quickstart.json").exists()
    finally:
        for process in (leader, stranger):
            process.kill()
            process.wait()


def test_constraints_pin_each_dependency_of_the_project() -> None:
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "deploy" / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if not line.startswith("#")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [
        Requirement(text) for text in [*project["dependencies"], *extras["test"], *extras["bench"], *extras["text"]]
    ]
    assert len(wanted) >= 20
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} has no pin in deploy/constraints.txt"
        assert requirement.specifier.contains(pins[name]), f"{name}=={pins[name]} does not satisfy {requirement}"
