"""Arguments and files that no command can use: one problem, one remedy, no traceback, nothing written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from texthash.config import load_config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import UsageError
from texthash.index.filters.given import filter_of_options
from texthash.index.releases.publish import publish
from texthash.index.writing.build import build_index
from texthash.paths import StateDir, as_path

HUGE = "9" * 5000  # more digits than Python converts


@pytest.fixture(scope="module")
def released(small_corpus: PreparedCorpus, small_hasher: Path, tmp_path_factory: pytest.TempPathFactory) -> StateDir:
    home = StateDir(tmp_path_factory.mktemp("wrong-use"))
    model = Path(shutil.copytree(small_hasher, home.root / "models" / "itq"))
    publish(home, model, build_index(model, small_corpus.path, home))
    return home


@pytest.fixture
def cli(released: StateDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli):
    """Runs one command in an empty directory."""
    monkeypatch.setenv("TEXTHASH_HOME", str(released.root))
    monkeypatch.chdir(tmp_path)
    return run_cli


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "itq", "nash"], "there are two methods: itq and nash"),
        (["index", "build", "latest", f"index.shards={10**20}"], "index.shards="),
        (["index", "build", "latest", f"index.shards={HUGE}"], "Exceeds the limit"),
        (["index", "backup", ""], "TARGET is blank"),
        (["index", "restore-backup", ""], "SOURCE is blank"),
        (["index", "backup", "file"], "file is not a folder"),
        (["index", "backup", "x" * 300], "File name too long"),
        (["index", "export", ""], "CODES is blank"),
        (["index", "export", "file/x.parquet"], "Not a directory"),
        (["index", "export", "folder.parquet"], "is a folder, not a file"),
        (["search", "--vector-file", "empty.npy"], "cannot be read as an array"),
        (["search", "sort", "--filter", "null"], "--filter is null"),
        (["search", "sort", "--filter", '{"labels": ["a"], "labels": ["b"]}'], "'labels' occurs twice"),
        *((["plan", "--documents", value], "documents=") for value in ("inf", "1e308")),
        *(
            (["plan", "--documents", "10", f"--{name.replace('_', '-')}", value], f"{name}=")
            for name in ("qps", "latency_ms", "node_memory_gib", "node_price")
            for value in ("nan", "inf", "1e308", "-1")
        ),
    ],
)
def test_what_cannot_be_used_is_named(cli, tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.parquet").mkdir()
    (tmp_path / "empty.npy").touch()
    before = sorted(tmp_path.iterdir())
    status, out, err = cli(*arguments)
    assert (status in (1, 2), out) == (True, ""), err
    assert says in err
    assert err.count("error: ") == err.count("  remedy: ") == 1
    assert "Traceback" not in err
    assert sorted(path for path in tmp_path.iterdir() if not path.name.startswith("home")) == before


@pytest.mark.parametrize("content", [f"training: {{seed: {HUGE}}}", "method: " + "[" * 3000])
def test_a_configuration_beyond_what_a_parser_takes_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "huge.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"huge\.yaml cannot be read"):
        load_config(path)


def test_an_empty_name_is_no_path() -> None:
    with pytest.raises(UsageError, match="a path is empty"):
        as_path("")
    assert as_path(".") == Path.cwd()


def test_a_member_that_occurs_once_in_each_object_is_read() -> None:
    text = '{"any": [{"labels": ["a"]}, {"labels": ["b"]}]}'
    assert filter_of_options(None, text) == {"any": [{"labels": ["a"]}, {"labels": ["b"]}]}
