"""The commands on corpora: what they show, and how they ask before they fetch."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from texthash.config import CorpusConfig
from texthash.corpora.corpus_record import Download
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.readers import agnews
from texthash.paths import StateDir

CONTENT = b"what is fetched" * 1000
Cli = Callable[..., tuple[int, str, str]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def home(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "home")


@pytest.fixture
def cli(home: StateDir, monkeypatch: pytest.MonkeyPatch, run_cli) -> Cli:
    """Runs one command; gives its exit status, stdout and stderr."""
    for name in ("TEXTHASH_DATA", "TEXTHASH_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TEXTHASH_HOME", str(home.root))
    return partial(run_cli, "corpora")


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Download]:
    """AG News as a small file on a server of this machine; its terms are those of AG News."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "news.tgz").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    digest = hashlib.sha256(CONTENT).hexdigest()
    url = f"http://127.0.0.1:{server.server_port}/news.tgz"
    download = Download(url, "ag_news_csv.tgz", len(CONTENT), f"sha256:{digest}")
    monkeypatch.setattr(agnews, "record", replace(agnews.record, downloads=(download,)))
    yield download
    server.shutdown()
    server.server_close()
    thread.join()


def test_show_says_all_that_is_known_before_a_file_is_there(cli: Cli, home: StateDir) -> None:
    status, out, _ = cli("show", "reuters", "--json")
    facts = json.loads(out)
    assert status == 0
    assert (facts["documents"], facts["labels"], facts["splits"]) == (10_789, 90, {"train": 7_770, "test": 3_019})
    assert facts["label_sets"] == ["topics90", "top20"]
    assert facts["downloads"][0]["file"] == "reuters21578.tar.gz"
    assert (facts["at_hand"], facts["files"], facts["editions"]) == (False, [], [])
    assert facts["looked_for_in"] == [str(home.downloads)]

    status, out, _ = cli("show", "reuters")
    assert status == 0
    for said in ("10,789 (train 7,770, test 3,019)", "topics90, top20", "For research purposes only", "Lewis, Reuters"):
        assert said in out
    assert f"no: looked for in {home.downloads}" in out


def test_show_names_the_files_at_hand(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "agnews_part.jsonl.gz").write_bytes(b"x" * 200_000)
    status, out, _ = cli("show", "agnews", "--data-dir", str(tmp_path))
    assert status == 0
    assert f"{tmp_path / 'agnews_part.jsonl.gz'}, 0.2 MB" in out
    _, out, _ = cli("show", "agnews", "--data-dir", str(tmp_path), "--json")
    assert json.loads(out)["files"] == [{"path": str(tmp_path / "agnews_part.jsonl.gz"), "bytes": 200_000}]


def test_show_has_the_card_of_each_prepared_edition(cli: Cli, home: StateDir, small_config: CorpusConfig) -> None:
    path = prepare_corpus(small_config, home)
    (home.corpus("small", "broken")).mkdir()
    (home.corpus("small", "broken") / "manifest.json").write_text("{")
    status, out, _ = cli("show", "small", "--json")
    assert status == 0
    broken, whole = json.loads(out)["editions"]
    assert "manifest.json is broken" in broken["problem"]
    assert (whole["edition"], whole["path"], whole["vocabulary"]) == ("random60", str(path), 2000)
    status, out, _ = cli("show", "small")
    assert status == 0
    assert f"small/random60: {sum(whole['documents'].values()):,} documents (train " in out


def test_an_embedded_corpus_has_nothing_to_fetch(cli: Cli) -> None:
    assert "yes: it needs no files" in cli("show", "pycode")[1]
    status, out, err = cli("fetch", "pydoc")
    assert (status, out) == (0, "")
    assert "needs no files" in err


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["show", "agnew"], 2, "did you mean 'agnews'?"),
        (["fetch", "agnew"], 2, "did you mean 'agnews'?"),
        (["fetch", "nyt"], 1, "is between you and The New York Times Company"),
        (["fetch", "tmc", "--accept-terms"], 1, "DASHlink"),
        (["--json", "show", "nyt"], 2, "put them after it"),
        (["show", "nyt", "--data-dir", "/nowhere"], 1, "/nowhere is not a folder"),
    ],
)
def test_errors_say_what_to_do(cli: Cli, arguments: list[str], status: int, says: str) -> None:
    code, out, err = cli(*arguments)
    assert (code, out) == (status, "")
    assert says in err


def test_terms_are_shown_and_agreed_to_before_anything_is_fetched(
    cli: Cli, home: StateDir, published: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    status, out, err = cli("fetch", "agnews")
    assert (status, out) == (2, "")
    assert agnews.record.terms in err
    assert "--accept-terms" in err
    assert not home.downloads.exists()

    status, out, err = cli("fetch", "agnews", "--accept-terms")
    assert status == 0
    assert json.loads(out) == {"name": "agnews", "files": [str(home.downloads / "ag_news_csv.tgz")]}
    assert (home.downloads / "ag_news_csv.tgz").read_bytes() == CONTENT
    assert agnews.record.terms in err
    assert json.loads(cli("show", "agnews", "--json")[1])["at_hand"] is True


@pytest.mark.parametrize(("answer", "status"), [("n\n", 1), ("y\n", 0)])
def test_on_a_terminal_the_person_is_asked(
    cli: Cli, tmp_path: Path, published: Download, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    code, _, err = cli("fetch", "agnews", "--data-dir", str(tmp_path / "mine"))
    assert code == status
    assert "Do you agree?" in err
    assert (tmp_path / "mine" / "ag_news_csv.tgz").exists() == (status == 0)
