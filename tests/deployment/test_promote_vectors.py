"""Promotion of models that read the vectors that an index stores: only those of the same source."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import VECTORS
from texthash.config import TrainingConfig, VectorKind
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.deployment.promote import promote
from texthash.errors import ModelMismatchError
from texthash.index.releases.publish import publish
from texthash.index.releases.release import read_release
from texthash.index.writing.build import build_index
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.training.loop import fit


def released(home: StateDir, corpus: PreparedCorpus, model: Path, vectors: VectorKind | None) -> StateDir:
    own = Path(shutil.copytree(model, home.root / "models" / "itq"))
    publish(home, own, build_index(own, corpus.path, home, shards=2, vectors=vectors))
    return home


@pytest.fixture
def other(vector_corpus: PreparedCorpus, tmp_path: Path) -> Path:
    """Another model of the same vectors."""
    untrained = build("pcah", vector_corpus.shape_with(VECTORS), 16, {"input": "features"})
    method = fit(untrained, vector_corpus.train, TrainingConfig()).method
    return Hasher.of(method, vector_corpus).save(tmp_path / "pcah")


def test_a_model_of_the_same_vectors_takes_over(
    vector_corpus: PreparedCorpus, vector_hasher: Path, other: Path, tmp_path: Path
) -> None:
    home = released(StateDir(tmp_path / "home"), vector_corpus, vector_hasher, "features")
    assert promote(home, other).method == read_release(home).method == "pcah"


def test_a_model_of_vectors_of_another_source_is_refused(
    vector_corpus: PreparedCorpus, vector_hasher: Path, other: Path, tmp_path: Path
) -> None:
    """They have the same width, so that nothing else tells them apart."""
    home = released(StateDir(tmp_path / "home"), vector_corpus, vector_hasher, "features")
    record = json.loads((other / "hasher.json").read_text())
    assert record["shape"]["encoder"] == VECTORS
    record["shape"]["encoder"] = "column:other"
    del record["digest"]
    (other / "hasher.json").write_text(json.dumps(record))
    before, indexes = read_release(home), sorted(home.index.iterdir())
    with pytest.raises(ModelMismatchError, match=f"vectors of column:other, but the index stores those of {VECTORS}"):
        promote(home, other)
    assert (read_release(home), sorted(home.index.iterdir())) == (before, indexes)


@pytest.mark.parametrize("vectors", [None, "activations"])
def test_a_model_of_vectors_is_refused_where_the_index_stores_none(
    vector_corpus: PreparedCorpus, vector_hasher: Path, other: Path, tmp_path: Path, vectors: VectorKind | None
) -> None:
    home = released(StateDir(tmp_path / "home"), vector_corpus, vector_hasher, vectors)
    before = read_release(home)
    with pytest.raises(ModelMismatchError, match="the model reads vectors of width 24"):
        promote(home, other)
    assert read_release(home) == before
