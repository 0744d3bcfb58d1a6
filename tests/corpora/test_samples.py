"""Corpora that are not whole: a sample that an edition asks for, and a source that is a part of what it should be."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from texthash.config import CorpusConfig, Edition, SplitRule
from texthash.corpora.document import SPLITS
from texthash.corpora.preparation.splits import NONE, assign
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.paths import StateDir

ROWS = [
    {"id": str(number), "text": f"common word{number}", "label": "ab"[number % 2], "split": SPLITS[number % 3]}
    for number in range(90)
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def prepare(path: Path, home: Path, sample: int | None, **rule: object) -> PreparedCorpus:
    edition = Edition(name="sampled", split=SplitRule.model_validate(rule), sample=sample)
    return PreparedCorpus.open(
        prepare_corpus(CorpusConfig(name="own", path=str(path), edition=edition), StateDir(home))
    )


def ids(corpus: PreparedCorpus) -> dict[str, list[str]]:
    return {name: Split(name, corpus).ids for name in SPLITS}


@pytest.mark.parametrize("kind", ["random", "given"])
def test_a_sample_is_divided_as_if_there_were_no_others(kind: str, rows: Path, tmp_path: Path) -> None:
    corpus = prepare(rows, tmp_path / "sampled", 60, kind=kind)
    assert corpus.manifest.dropped == {"not in the sample": 30}
    assert sum(corpus.manifest.documents.values()) == 60
    drawn = {number for split in ids(corpus).values() for number in split}
    alone = tmp_path / "alone.jsonl"
    alone.write_text("".join(json.dumps(row) + "\n" for row in ROWS if row["id"] in drawn))
    other = prepare(alone, tmp_path / "alone", None, kind=kind)
    assert ids(other) == ids(corpus)
    assert other.manifest.vocabulary_hash == corpus.manifest.vocabulary_hash


def test_a_sample_as_large_as_the_corpus_is_the_corpus(rows: Path, tmp_path: Path) -> None:
    whole = prepare(rows, tmp_path / "whole", None, kind="random")
    same = prepare(rows, tmp_path / "same", 90, kind="random")
    assert ids(same) == ids(whole)
    assert same.manifest.dropped == {}


def test_another_seed_draws_another_sample() -> None:
    given = np.zeros(1000, np.int8)
    first, again, other = (assign(given, SplitRule(kind="random", seed=seed), 100) != NONE for seed in (1, 1, 2))
    assert first.sum() == other.sum() == 100
    np.testing.assert_array_equal(first, again)
    assert (first & other).sum() < 50


def test_a_part_of_a_known_corpus_is_told_from_the_whole(tmp_path: Path) -> None:
    content = "".join(json.dumps(row) + "\n" for row in [*ROWS, {"id": "none", "text": " "}])
    (tmp_path / "agnews_partial.jsonl.gz").write_bytes(gzip.compress(content.encode()))
    edition = Edition(sample=60)
    config = CorpusConfig(name="agnews", data_dir=str(tmp_path), edition=edition)
    manifest = PreparedCorpus.open(prepare_corpus(config, StateDir(tmp_path / "home"))).manifest
    assert manifest.dropped == {"empty": 1, "not in the sample": 30}
    assert manifest.warnings == ["91 of 127,600 documents: what is at hand is a part of the corpus."]
    limited = config.model_copy(update={"limit": 60})
    assert PreparedCorpus.open(prepare_corpus(limited, StateDir(tmp_path / "home"))).manifest.warnings == []


def test_more_of_a_known_corpus_than_was_prepared_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, home = tmp_path / "data", StateDir(tmp_path / "home")
    data.mkdir()
    part = data / "agnews_part.jsonl.gz"
    part.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode()))
    config = CorpusConfig(name="agnews", data_dir=str(data))
    prepared = prepare_corpus(config, home)
    capsys.readouterr()
    assert prepare_corpus(config, home) == prepared
    assert "other files" not in capsys.readouterr().err
    part.rename(data / "agnews_whole.jsonl.gz")
    assert prepare_corpus(config, home) == prepared
    assert "was prepared from other files than those available (agnews_part.jsonl.gz, agnews_whole" in (
        capsys.readouterr().err
    )
    (data / "agnews_whole.jsonl.gz").unlink()
    data.rmdir()
    assert prepare_corpus(config, home) == prepared
    assert "other files" not in capsys.readouterr().err
