"""A release that was written to is replaced by an index of the corpus only if that is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from texthash.config import parse_config
from texthash.deployment.kept_writes import WritesNotKeptError
from texthash.deployment.promote import promote
from texthash.deployment.release_model import make_release, register
from texthash.experiments.experiment import Experiment
from texthash.index.releases.backup import back_up, restore_backup
from texthash.index.releases.release import list_releases, read_release
from texthash.index.releases.snapshots import take_snapshot
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.paths import StateDir


def _study(corpus, home, method, bits=16, **index):
    config = {
        "corpus": corpus.manifest.config.model_dump(mode="json"),
        "method": {"name": method, "bits": bits},
        "tracking": {"promote": "always"},
        "index": {"shards": 1, **index},
    }
    return Experiment(parse_config(config), home, corpus)


def _release(study, model):
    return make_release(study, model, register(study, model))


def _write(home):
    with IndexWriter.open(home) as writer:
        writer.upsert([IndexDocument("mine/1", "a graphics card")], np.zeros((1, 2), np.uint8))


@pytest.fixture
def home(tmp_path):
    return StateDir(tmp_path / "home")


def test_another_index_of_the_corpus_does_not_replace_one_that_was_written_to(small_corpus, home):
    study = _study(small_corpus, home, "lsh")
    model = study.train(0)
    first = _release(study, model)
    _write(home)
    written = read_release(home)
    for changed in (study, _study(small_corpus, home, "lsh", shards=2)):
        with pytest.raises(
            WritesNotKeptError, match=rf"release {written.name} was written to after .* {written.documents}"
        ):
            _release(changed, model)
    assert read_release(home) == written
    assert [release.name for release in list_releases(home)] == [first.name, written.name], "nothing is left over"

    said = _study(small_corpus, home, "lsh", shards=2, discard_writes=True)
    assert _release(said, model).documents == first.documents
    assert _release(_study(small_corpus, home, "lsh"), model).documents == first.documents, (
        "that one was not written to"
    )


def test_a_model_that_cannot_be_promoted_over_the_writes_is_not_offered_for_promotion(small_corpus, home):
    study = _study(small_corpus, home, "lsh")
    _release(study, study.train(0))
    _write(home)
    wider = _study(small_corpus, home, "lsh", bits=32)
    with pytest.raises(WritesNotKeptError) as refused:
        _release(wider, wider.train(0))
    assert "promote" not in refused.value.remedy
    assert "TEXTHASH_HOME" in refused.value.remedy


def test_writes_that_a_promotion_carried_over_are_kept_too(small_corpus, home):
    study, other = _study(small_corpus, home, "lsh"), _study(small_corpus, home, "pcah")
    _release(study, study.train(0))
    _write(home)
    model = other.train(0)
    version = register(other, model)
    served = promote(home, model.hasher, version=version)
    with pytest.raises(WritesNotKeptError) as refused:
        make_release(other, model, version)
    assert f"serve promote {version}" in refused.value.remedy
    assert read_release(home) == served


def test_a_write_during_the_build_is_kept(small_corpus, home, monkeypatch):
    from texthash.index.writing import build

    study = _study(small_corpus, home, "lsh")
    model = study.train(0)
    _release(study, model)
    finish = build.finish

    def written_to(index):
        _write(home)
        return finish(index)

    monkeypatch.setattr(build, "finish", written_to)
    with pytest.raises(WritesNotKeptError):
        _release(_study(small_corpus, home, "lsh", shards=2), model)
    written = read_release(home)
    assert written.parent is not None
    assert list_releases(home)[-1] == written, "the release of the corpus is withdrawn"


def test_what_no_user_has_written_may_be_replaced(small_corpus, home, tmp_path):
    """Compaction, keywords and a restored state leave the documents of the corpus; a write and its remains do not."""
    study = _study(small_corpus, home, "lsh")
    model = study.train(0)
    built = _release(study, model)
    with IndexWriter.open(home) as writer:
        writer.compact()
        writer.add_keywords("english")
        assert read_release(home).parent is not None
        assert not writer.release.was_written
        writer.delete(ids=["nobody"])
        assert not writer.release.was_written
    assert _release(_study(small_corpus, home, "lsh", shards=2), model).documents == built.documents

    with IndexWriter.open(home) as writer:
        before = take_snapshot(home, "before")
        writer.upsert([IndexDocument("mine/1", "a graphics card")], np.zeros((1, 2), np.uint8))
        writer.compact()
        assert writer.release.was_written
        written = writer.release
        writer.restore(read_release(home, before.release))
        assert not writer.release.was_written
        writer.restore(written)
        assert writer.release.was_written
    with pytest.raises(WritesNotKeptError):
        _release(study, model)
    back_up(home, str(tmp_path / "backup"))
    assert restore_backup(home, str(tmp_path / "backup")).was_written


def test_a_restored_or_promoted_corpus_without_writes_may_be_replaced(small_corpus, home, tmp_path):
    study, other = _study(small_corpus, home, "lsh"), _study(small_corpus, home, "pcah")
    _release(study, study.train(0))
    back_up(home, str(tmp_path / "backup"))
    assert not restore_backup(home, str(tmp_path / "backup")).was_written
    assert not promote(home, other.train(0).hasher).was_written


def test_a_record_of_an_earlier_version_counts_as_written_where_it_may_be(small_corpus, home):
    built = _release(_study(small_corpus, home, "lsh"), _study(small_corpus, home, "lsh").train(0))
    old = replace(built, written=None, format=6)
    assert not old.was_written
    assert replace(old, parent="r000001").was_written
    assert replace(old, index_uri="index/x-live").was_written
