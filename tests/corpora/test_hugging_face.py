"""Corpora of datasets of the Hugging Face Hub: read by ``datasets`` from a hub on this machine."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integrations.hub_server import Hub, commit, hub_server
from texthash.config import CorpusConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.readers.hugging_face import Address
from texthash.errors import UsageError
from texthash.paths import StateDir, as_path

pytest.importorskip("datasets", reason="the extra datasets is not installed")

NAME = "datasets/me/news"
CARD = """---
dataset_info:
  features:
  - name: headline
    dtype: string
  - name: text
    dtype: string
  - name: year
    dtype: int64
  - name: label
    dtype:
      class_label:
        names:
          '0': sport
          '1': science
configs:
- config_name: default
  data_files:
  - {split: train, path: train-*.parquet}
  - {split: test, path: test.parquet}
  - {split: unsupervised, path: unsupervised.parquet}
---
"""


def parquet(first: int, last: int) -> bytes:
    numbers = range(first, last)
    columns = {
        "headline": [f"headline {n}" for n in numbers],
        "text": [f"text of number {n} about {'balls and goals' if n % 2 == 0 else 'atoms and stars'}" for n in numbers],
        "year": [2000 + n for n in numbers],
        "label": [n % 2 for n in numbers],
    }
    written = io.BytesIO()
    pq.write_table(pa.table(columns), written)
    return written.getvalue()


@pytest.fixture
def hub():
    with hub_server() as server:
        server.repositories[NAME] = {
            "README.md": CARD.encode(),
            "train-0.parquet": parquet(0, 40),
            "train-1.parquet": parquet(40, 60),
            "test.parquet": parquet(60, 80),
            "unsupervised.parquet": parquet(80, 90),
        }
        yield server


_PROGRAM = """
import sys
from texthash.config import load_config
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.errors import TexthashError
from texthash.paths import resolve_home
try:
    prepare_corpus(load_config(None, ["corpus.name=news", *sys.argv[1:]]).corpus, resolve_home())
except TexthashError as error:
    sys.exit(str(error))
"""


def prepare(hub: Hub, home: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Prepare in another process, since the libraries read the address of the Hub when they are imported."""
    own = {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(home / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "TEXTHASH_HOME": str(home / "home"),
    }
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, *options],
        env={**os.environ, **own, **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def manifest(home: Path) -> dict:
    (path,) = (home / "home/corpora/news").glob("*/manifest.json")
    return json.loads(path.read_text())


def test_a_dataset_is_prepared_at_one_commit(hub: Hub, tmp_path: Path) -> None:
    options = ("corpus.path=hf://me/news", "corpus.attributes=[year]", "corpus.text=[headline,text]")
    halves = "corpus.edition.split.kind=halve_test"
    done = prepare(hub, tmp_path, *options, halves)
    assert done.returncode == 0, done.stderr
    assert "unsupervised" in done.stderr
    facts = manifest(tmp_path)
    first = commit(hub, NAME)
    assert facts["config"]["path"] == f"hf://me/news@{first}"
    assert facts["source_files"] == [{"name": f"me/news@{first}", "bytes": 0, "sha256": ""}]
    assert facts["label_names"] == ["science", "sport"]
    assert {name: split["documents"] for name, split in facts["splits"].items()} == {
        "train": 60,
        "validation": 10,
        "test": 10,
    }
    held = [
        path for split in ("validation", "test") for path in tmp_path.glob(f"home/corpora/news/*/{split}/*.parquet")
    ]
    rows = [row for path in held for row in pq.read_table(path, columns=["id", "text"]).to_pylist()]
    assert {row["id"] for row in rows} == {f"test/0:{line}" for line in range(1, 21)}
    own = next(row for row in rows if row["id"] == "test/0:1")
    assert own["text"] == "headline 60\ntext of number 60 about balls and goals"

    hub.repositories[NAME]["test.parquet"] = parquet(60, 70)  # the branch goes on, the commit does not change
    other = prepare(hub, tmp_path, *options, halves)
    assert other.returncode != 0
    assert f"prepared from hf://me/news@{first}, not from hf://me/news@{commit(hub, NAME)}" in flat(other.stderr)
    pinned = (f"corpus.path=hf://me/news@{first}", *options[1:], halves)
    again = prepare(hub, tmp_path, *pinned, HF_HUB_OFFLINE="1")  # a prepared commit needs no network
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_one_split_is_named_and_a_missing_one_is_refused(hub: Hub, tmp_path: Path) -> None:
    done = prepare(hub, tmp_path, "corpus.path=hf://me/news?split=train")
    assert done.returncode == 0, done.stderr
    assert sum(split["documents"] for split in manifest(tmp_path)["splits"].values()) == 60
    missing = prepare(hub, tmp_path / "other", "corpus.path=hf://me/news?split=dev")
    assert missing.returncode != 0
    assert "there is no split 'dev'" in flat(missing.stderr)


@pytest.mark.slow
def test_a_private_dataset_needs_the_token_of_the_environment(hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_secret_of_the_test"
    refused = prepare(hub, tmp_path, "corpus.path=hf://me/news", HF_TOKEN="hf_another")
    assert refused.returncode != 0
    assert "HF_TOKEN" in flat(refused.stderr)
    done = prepare(hub, tmp_path, "corpus.path=hf://me/news", HF_TOKEN=hub.token)
    assert done.returncode == 0, done.stderr
    shown = refused.stdout + refused.stderr + done.stdout + done.stderr + json.dumps(manifest(tmp_path))
    assert hub.token not in shown
    assert "hf_another" not in shown


def test_without_a_network_the_remedy_is_a_commit(hub: Hub, tmp_path: Path) -> None:
    done = prepare(hub, tmp_path, "corpus.path=hf://me/news", HF_HUB_OFFLINE="1")
    assert done.returncode != 0
    assert "hf://owner/name@COMMIT" in flat(done.stderr)
    assert "Traceback" not in done.stderr


def test_a_folder_of_the_same_name_is_not_taken_for_the_dataset(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "me/news").mkdir(parents=True)
    (tmp_path / "me/news/train.jsonl").write_text('{"text": "not of the hub"}\n')
    monkeypatch.chdir(tmp_path)
    done = prepare(hub, tmp_path, "corpus.path=hf://me/news")
    assert done.returncode != 0
    assert f"{tmp_path}/me/news exists, and datasets would read it in place of hf://me/news@" in flat(done.stderr)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"README.md": b"---\nconfigs: [}\n---\n", "train.parquet": b""}, "ParserError"),
        ({"train.parquet": b"<html>log in</html>"}, "caused by ArrowInvalid: Parquet magic bytes not found"),
    ],
)
def test_a_damaged_dataset_is_an_error_that_says_what_is_wrong(
    hub: Hub, tmp_path: Path, files: dict[str, bytes], said: str
) -> None:
    hub.repositories[NAME] = files
    done = prepare(hub, tmp_path, "corpus.path=hf://me/news")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "hf://me/news@" in flat(done.stderr)
    assert said in flat(done.stderr)


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("hf://me/news", Address("me/news")),
        ("hf://news@v1.0", Address("news", "v1.0")),
        ("hf://me/news@ab/c?config=de&split=train,test", Address("me/news", "ab/c", "de", ("train", "test"))),
    ],
)
def test_addresses_are_read_and_written(path: str, address: Address) -> None:
    assert Address.parse(path) == address
    assert str(address) == path


@pytest.mark.parametrize("path", ["hf://", "hf://a/b/c", "hf://me/news?splits=train", "hf://me/news?split="])
def test_other_addresses_are_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not the address of a dataset"):
        prepare_corpus(CorpusConfig(name="news", path=path), StateDir(tmp_path))


def test_a_dataset_is_no_path() -> None:
    with pytest.raises(UsageError, match="only a corpus can be one"):
        as_path("hf://me/news")


def flat(text: str) -> str:
    """The text of an error without the line breaks of the terminal."""
    return re.sub(r"\s+", " ", text)
