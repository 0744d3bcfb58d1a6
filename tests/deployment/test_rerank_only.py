"""A method that only re-ranks is refused wherever codes would be indexed or released, before anything is written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import texthash
from texthash.config import Config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.deployment.promote import promote
from texthash.deployment.release_model import make_release, register
from texthash.errors import UsageError
from texthash.index.releases.publish import publish
from texthash.index.releases.release import current_name
from texthash.index.writing.build import build_index
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir

REFUSED = pytest.raises(UsageError, match="has only re-ranks what another search has found")


@pytest.fixture(scope="module")
def model(small_corpus: PreparedCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    method = build("has", small_corpus.shape, 32, {"embedding": 8, "filters": 4})
    return Hasher.of(method, small_corpus).save(tmp_path_factory.mktemp("rerank") / "model")


@pytest.fixture
def home(small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path) -> StateDir:
    """A state directory that serves another model."""
    home = StateDir(tmp_path)
    publish(home, small_hasher, build_index(small_hasher, small_corpus.path, home), switch=True)
    return home


def test_no_index_is_built_and_no_release_written(
    model: Path, home: StateDir, small_corpus: PreparedCorpus, small_hasher: Path
) -> None:
    before = sorted(home.index.iterdir())
    with REFUSED:
        build_index(model, small_corpus.path, home)
    with REFUSED:
        publish(home, model, before[0])
    with REFUSED:
        promote(home, model)
    assert sorted(home.index.iterdir()) == before
    assert current_name(home) == "r000001"


def test_no_documents_are_indexed_in_memory(model: Path) -> None:
    with REFUSED as error:
        texthash.Index(Hasher.load(model), ["sort an array"])
    assert "bpr" in error.value.remedy


def test_no_model_is_registered_to_become_the_champion() -> None:
    config = Config.model_validate({"corpus": {"name": "none"}, "method": {"name": "has", "bits": 32}})
    trained = SimpleNamespace(config=config)  # refused by its configuration, before anything else is read
    with REFUSED:
        register(None, trained)
    with REFUSED:
        make_release(None, trained, None)


def test_a_method_whose_index_is_rescored_is_indexed(small_corpus: PreparedCorpus) -> None:
    Hasher.of(build("bpr", small_corpus.shape, 32), small_corpus).check_searchable()
