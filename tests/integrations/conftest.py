"""The two places of documents that every store is tested over: an index in this process, and a running service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import texthash
from tests.documentation import kept_documentation
from tests.service.test_client import through
from tests.service.test_vectors_http import release_of, served
from texthash.client import Client
from texthash.config import CorpusConfig, Edition, SplitRule, TrainingConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.integrations.store import Store, store_of
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.training.loop import fit

WORDS = ("foo", "bar", "baz", "sort an array", "open a file", "a table of numbers", "plot a figure")


@pytest.fixture(scope="session")
def texts(kept_between_runs: Path) -> list[str]:
    return [document.text for document in kept_documentation(kept_between_runs, ("sklearn",), 4, 30)]


@pytest.fixture(scope="session")
def corpus(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    """A corpus of the texts, which has the words of the libraries' own suites too."""
    folder = tmp_path_factory.mktemp("corpus")
    known = texts + [f"{word} {number}" for word in WORDS for number in range(9)]
    rows = [{"id": str(place), "text": text, "split": "train"} for place, text in enumerate(known)]
    rows += [{"id": split, "text": texts[0], "split": split} for split in ("validation", "test")]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = CorpusConfig(name="suite", path=str(path), edition=Edition(name="own", split=SplitRule(kind="given")))
    return PreparedCorpus.open(prepare_corpus(config, StateDir(folder)))


@pytest.fixture(scope="session")
def saved(corpus: PreparedCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved 32-bit model (ITQ) of the corpus."""
    method = fit(build("itq", corpus.shape, 32), corpus.train, TrainingConfig()).method
    return Hasher.of(method, corpus).save(tmp_path_factory.mktemp("models") / "itq-32")


@pytest.fixture(scope="session")
def model(saved: Path) -> Hasher:
    return Hasher.load(saved)


@pytest.fixture
def index(model: texthash.Hasher) -> texthash.Index:
    """An empty index in this process."""
    return texthash.Index(model, [])


@pytest.fixture(scope="session")
def service(corpus: PreparedCorpus, saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    home = StateDir(tmp_path_factory.mktemp("service"))
    release_of(home, corpus, saved)
    with Client("http://test", transport=through(served(home))) as client:
        yield client


@pytest.fixture
def client(service: Client) -> Client:
    """A client of a service whose index is empty."""
    store_of(service).delete_where(None)
    return service


@pytest.fixture(params=["index", "client"])
def target(request: pytest.FixtureRequest) -> texthash.Index | Client:
    return request.getfixturevalue(request.param)


@pytest.fixture
def store(target: texthash.Index | Client) -> Store:
    return store_of(target)
