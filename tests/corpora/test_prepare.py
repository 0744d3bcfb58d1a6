"""Preparation: the vocabulary is scikit-learn's, the bytes are always the same, nothing is half-made."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from tests.permissions import closed
from texthash.config import CorpusConfig, Edition, SplitRule
from texthash.corpora.document import Document
from texthash.corpora.preparation.reading import read_part
from texthash.corpora.preparation.shards import write_shards
from texthash.corpora.preparation.splits import assign
from texthash.corpora.preparation.staging import Staging
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import CorpusError, UsageError
from texthash.paths import StateDir

Contents = Callable[[Path], dict[str, str]]


def change(config: CorpusConfig, edition: dict[str, Any] | None = None, **changes: Any) -> CorpusConfig:
    values = config.model_dump() | changes
    values["edition"] = values["edition"] | (edition or {})
    return CorpusConfig.model_validate(values)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def tiny(path: Path, rows: list[dict[str, Any]], **edition: Any) -> CorpusConfig:
    options = {"name": "tiny", "split": SplitRule(kind="given"), "stop_words": None} | edition
    return CorpusConfig(name="own", path=write_rows(path, rows), edition=Edition(**options), shards=1)


ROWS = [
    {"id": f"{split}{i}", "text": f"alpha beta {'gamma ' * i}", "labels": ["x" if i % 2 else "y"], "split": split}
    for split in ("train", "validation", "test")
    for i in range(4)
]


@pytest.mark.parametrize(
    ("size", "min_df", "max_df"), [(None, 1, 1.0), (300, 1, 1.0), (50, 2, 0.5), (None, 0.01, 400), (1, 3, 0.9)]
)
def test_the_vocabulary_is_that_of_scikit_learn(
    small_config: CorpusConfig, tmp_path: Path, size: int | None, min_df: float, max_df: float
) -> None:
    limits = {"vocabulary_size": size, "min_df": min_df, "max_df": max_df, "min_tokens": 0}
    corpus = PreparedCorpus.open(prepare_corpus(change(small_config, limits), StateDir(tmp_path)))
    texts = [text for table in corpus.train.documents() for text in table["text"].to_pylist()]
    theirs = CountVectorizer(stop_words="english", max_features=size, min_df=min_df, max_df=max_df)
    counts = theirs.fit_transform(texts)
    assert corpus.vocabulary.terms == theirs.get_feature_names_out().tolist()
    assert corpus.vocabulary.occurrences == counts.sum()
    assert abs(corpus.train.matrix("counts") - counts).max() == 0


def test_a_document_is_kept_with_its_words_in_order(
    small_corpus: PreparedCorpus, small_documents: list[Document]
) -> None:
    by_id = {document.id: document for document in small_documents}
    for split in (small_corpus.train, small_corpus.split("test")):
        table = pq.read_table(small_corpus.path / split.name)
        assert table["id"].to_pylist() == split.ids
        positions = [list(by_id).index(id_) for id_ in split.ids]
        assert positions == sorted(positions), "rows keep reading order"
        for row in table.slice(0, 20).to_pylist():
            document = by_id[row["id"]]
            assert (row["text"], row["labels"], row["title"]) == (document.text, list(document.labels), document.title)
            assert [small_corpus.label_names[i] for i in row["label_ids"]] == row["labels"]
            tokens = small_corpus.analyzer.tokens(row["text"])
            assert row["tokens"] == small_corpus.vocabulary.sequence(tokens).tolist()
            ids, counts = small_corpus.vocabulary.counts(tokens)
            assert (row["word_ids"], row["counts"]) == (ids.tolist(), counts.tolist())


def test_bytes_do_not_depend_on_the_run(
    small_corpus: PreparedCorpus, small_config: CorpusConfig, tmp_path: Path, contents: Contents
) -> None:
    again = prepare_corpus(small_config, StateDir(tmp_path))
    assert contents(again) == contents(small_corpus.path)
    assert len(contents(again)) == 3 * 2 + 2


def test_the_number_of_shards_does_not_change_the_rows(
    small_corpus: PreparedCorpus, small_config: CorpusConfig, tmp_path: Path
) -> None:
    corpus = PreparedCorpus.open(prepare_corpus(change(small_config, shards=5), StateDir(tmp_path)))
    assert len(list((corpus.path / "train").glob("*.parquet"))) == 5
    assert corpus.train.ids == small_corpus.train.ids
    assert abs(corpus.train.matrix() - small_corpus.train.matrix()).max() == 0
    np.testing.assert_array_equal(corpus.train.tokens[1], small_corpus.train.tokens[1])


def test_an_interrupted_preparation_goes_on_where_it_was(
    small_corpus: PreparedCorpus,
    small_config: CorpusConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    contents: Contents,
) -> None:
    def full_disk(staging: Staging, number: int) -> None:
        if number:
            raise OSError(28, "No space left on device")
        write_shards(staging, number)

    monkeypatch.setattr("texthash.corpora.preparation.steps.write_shards", full_disk)
    with pytest.raises(CorpusError, match="No space left on device"):
        prepare_corpus(small_config, StateDir(tmp_path))
    target = StateDir(tmp_path).corpus("small", "random60")
    assert not target.exists()
    kept = sorted(path.stat().st_mtime_ns for path in target.parent.rglob("part-*.parquet"))
    assert len(kept) == 3, "the first shard of each split"

    monkeypatch.undo()
    prepare_corpus(small_config, StateDir(tmp_path))
    assert contents(target) == contents(small_corpus.path)
    assert sorted(path.stat().st_mtime_ns for path in target.rglob("part-00000.parquet")) == kept
    assert [path.name for path in target.parent.iterdir() if path.is_dir()] == ["random60"]


def prepare_in_process(config: CorpusConfig, home: Path) -> subprocess.Popen:
    code = (
        "import sys; from texthash.config import CorpusConfig;"
        "from texthash.corpora.preparation.steps import prepare_corpus;"
        "from texthash.paths import StateDir; from pathlib import Path;"
        "prepare_corpus(CorpusConfig.model_validate_json(sys.argv[1]), StateDir(Path(sys.argv[2])))"
    )
    return subprocess.Popen([sys.executable, "-c", code, config.model_dump_json(), str(home)])


@pytest.mark.parametrize("step", ["parts", "shards"])
def test_a_killed_preparation_goes_on_where_it_was(
    small_documents: list[Document], tmp_path: Path, step: str, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    for number in range(30):  # each file is a part
        rows = [{"id": f"{number}-{d.id}", "text": d.text, "labels": d.labels} for d in small_documents[:400]]
        write_rows(folder / f"{number:02d}.jsonl", rows)
    config = CorpusConfig(name="own", path=str(folder), edition=Edition(vocabulary_size=500), shards=30)
    whole = prepare_corpus(config, StateDir(tmp_path / "whole"))

    target = StateDir(tmp_path / "killed").corpus("own", "random60")
    process = prepare_in_process(config, tmp_path / "killed")
    while len(list(target.parent.glob(f".random60.*/{step}/*.json"))) < 3:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert not target.exists()
    finished = {path.stem for path in target.parent.glob(f".random60.*/{step}/*.json")}
    assert 3 <= len(finished) < 30

    done: list[str] = []
    steps = {"parts": (read_part, "{:06d}"), "shards": (write_shards, "{:05d}")}
    for function, form in steps.values():

        def watched(staging: Staging, number: int, function: Any = function, form: str = form, **rest: Any) -> Any:
            record = staging.part(number) if function is read_part else staging.shard_sizes(number)
            if not record.exists():
                done.append(f"{function.__name__} {form.format(number)}")
            return function(staging, number, **rest)

        monkeypatch.setattr(f"texthash.corpora.preparation.steps.{function.__name__}", watched)
    prepare_corpus(config, StateDir(tmp_path / "killed"))
    assert contents(target) == contents(whole)
    function, form = steps[step]
    again = {form.format(number) for number in range(30)} - finished
    assert {name.split()[1] for name in done if name.startswith(function.__name__)} == again
    assert step == "parts" or not any(name.startswith("read_part") for name in done)


def test_labels_that_no_training_document_has_are_a_warning(tmp_path: Path) -> None:
    late = [{"id": "n", "text": "alpha beta", "labels": ["new", "x"], "split": "test"}]
    late += [{"id": "o", "text": "alpha beta", "labels": ["old", "new"], "split": "validation"}]
    corpus = PreparedCorpus.open(
        prepare_corpus(tiny(tmp_path / "rows.jsonl", ROWS + late), StateDir(tmp_path / "home"))
    )
    assert corpus.manifest.warnings == [
        "2 of 4 labels are on no training document, only on 2 others: new, old.",
    ]


def test_a_source_that_was_corrected_is_read_again(tmp_path: Path) -> None:
    config = tiny(tmp_path / "rows.jsonl", [row for row in ROWS if row["split"] != "test"])
    config = change(config, {"min_df": 3})
    with pytest.raises(CorpusError, match="is in the split test"):
        prepare_corpus(config, StateDir(tmp_path))
    write_rows(tmp_path / "rows.jsonl", [row | {"text": "alone"} for row in ROWS if row["id"].endswith("0")])
    with pytest.raises(CorpusError, match="no word of 1 in 1 training documents"):
        prepare_corpus(config, StateDir(tmp_path))
    write_rows(tmp_path / "rows.jsonl", ROWS)
    corpus = PreparedCorpus.open(prepare_corpus(config, StateDir(tmp_path)))
    assert corpus.vocabulary.terms == ["alpha", "beta", "gamma"]
    assert corpus.manifest.documents == {"train": 4, "validation": 4, "test": 4}


def test_a_corpus_of_ones_own_needs_a_name_of_its_own(tmp_path: Path) -> None:
    config = change(tiny(tmp_path / "rows.jsonl", ROWS), name="pydoc")
    with pytest.raises(UsageError, match="'pydoc' is the name of another"):
        prepare_corpus(config, StateDir(tmp_path))
    assert not StateDir(tmp_path).corpus("pydoc", "tiny").parent.exists()


def test_a_prepared_corpus_is_reused_and_never_overwritten(tmp_path: Path) -> None:
    config = tiny(tmp_path / "rows.jsonl", ROWS)
    target = prepare_corpus(config, StateDir(tmp_path / "home"))
    before = (target / "manifest.json").stat().st_mtime_ns
    with closed(target.parent, 0o555):  # as in a state directory that can only be read
        assert prepare_corpus(config, StateDir(tmp_path / "home")) == target
    assert (target / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(CorpusError, match=r"edition\.vocabulary_size=10000 then, 2 now"):
        prepare_corpus(change(config, {"vocabulary_size": 2}), StateDir(tmp_path / "home"))
    write_rows(tmp_path / "rows.jsonl", [*ROWS, {"id": "new", "text": "delta epsilon", "split": "train"}])
    with pytest.raises(CorpusError, match=r"rows\.jsonl changed since"):
        prepare_corpus(config, StateDir(tmp_path / "home"))


def test_a_limited_corpus_has_an_edition_of_its_own(small_config: CorpusConfig, tmp_path: Path) -> None:
    corpus = PreparedCorpus.open(prepare_corpus(change(small_config, limit=400), StateDir(tmp_path)))
    assert corpus.manifest.edition == "random60-first400"
    assert sum(corpus.manifest.documents.values()) == 400


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    rows = [*ROWS, {"id": "e", "text": " \n"}, {"id": "u", "text": "gamma " * 9, "split": "train"}]
    config = tiny(tmp_path / "rows.jsonl", rows, min_tokens=3, max_tokens=5)
    manifest = PreparedCorpus.open(prepare_corpus(config, StateDir(tmp_path / "home"))).manifest
    assert manifest.dropped == {
        "empty": 1,
        "fewer than 3 vocabulary words": 3,
        "more than 5 vocabulary words": 1,
    }
    assert manifest.documents == {"train": 3, "validation": 3, "test": 3}
    assert [file.name for file in manifest.source_files] == ["rows.jsonl"]


def test_split_rules() -> None:
    given = np.array([0] * 10 + [2] * 11, np.int8)
    halved = assign(given, SplitRule(kind="halve_test", seed=1))
    assert np.bincount(halved).tolist() == [10, 5, 6]
    assert (halved[:10] == 0).all()
    shares = assign(np.full(1000, -1, np.int8), SplitRule(kind="random", seed=1))
    assert np.bincount(shares).tolist() == [600, 200, 200]
    np.testing.assert_array_equal(shares, assign(given.repeat(50)[:1000], SplitRule(kind="random", seed=1)))
    assert (shares != assign(np.full(1000, -1, np.int8), SplitRule(kind="random", seed=2))).any()


@pytest.mark.parametrize(
    ("rows", "edition", "message"),
    [
        ([], {}, "has no documents"),
        ([{"id": "1", "text": " "}], {}, r"has no documents \(left out: \{'empty': 1\}\)"),
        ([row for row in ROWS if row["split"] != "validation"], {}, "in the split validation"),
        ([*ROWS, {"id": "u", "text": "alpha"}], {}, r"1 of 13 documents have no split \(first: document 13\)"),
        ([*ROWS, ROWS[5]], {}, r"rows\.jsonl:13: the id 'validation1' occurs twice \(first: .*rows\.jsonl:6\)"),
        (ROWS, {"min_df": 9}, "no word of 3 in 4 training documents is left with min_df=9"),
        (ROWS, {"token_pattern": "[0-9]+"}, "no word of 0 .*\\n.*token_pattern and stop_words"),
        (ROWS, {"min_tokens": 99}, "no document of the split train is left"),
    ],
)
def test_a_corpus_that_cannot_be_prepared_says_why(
    tmp_path: Path, rows: list[dict[str, Any]], edition: dict[str, Any], message: str
) -> None:
    config = tiny(tmp_path / "rows.jsonl", rows, **edition)
    with pytest.raises(CorpusError, match=message):
        prepare_corpus(config, StateDir(tmp_path / "home"))
    assert not StateDir(tmp_path / "home").corpus("own", "tiny").exists()


@pytest.mark.parametrize(
    ("labels", "warning"), [([], "no document has a label"), (["one"], "every document is relevant to every other")]
)
def test_too_few_labels_are_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: list[str], warning: str
) -> None:
    config = tiny(tmp_path / "rows.jsonl", [row | {"labels": labels} for row in ROWS])
    corpus = PreparedCorpus.open(prepare_corpus(config, StateDir(tmp_path / "home")))
    assert warning in corpus.manifest.warnings[0]
    assert warning in capsys.readouterr().err
    assert corpus.train.labels.shape == (4, len(labels))


def test_where_no_labels_are_expected_their_absence_is_no_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny(tmp_path / "rows.jsonl", [row | {"labels": []} for row in ROWS])
    prepare_corpus(config, StateDir(tmp_path / "home"), labels_expected=False)
    assert "label" not in capsys.readouterr().err


def test_unknown_corpus_and_split_name_the_known_ones(small_corpus: PreparedCorpus, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean '20newsgroups'"):
        prepare_corpus(CorpusConfig(name="20newsgroup"), StateDir(tmp_path))
    with pytest.raises(UsageError, match="'dev'"):
        small_corpus.split("dev")


def test_arrays_are_memory_mapped_and_travel_as_a_path(small_corpus: PreparedCorpus) -> None:
    train = small_corpus.train
    assert all(isinstance(array, np.memmap) for array in (*train.counts, *train.tokens, *train.label_ids))
    sent = pickle.dumps(train)
    assert len(sent) < 20_000
    np.testing.assert_array_equal(pickle.loads(sent).counts[1], train.counts[1])


def _length_of_words(path: Path) -> int:
    return len(PreparedCorpus.open(path).train.counts[1])


def test_processes_may_race_for_the_arrays(small_config: CorpusConfig, tmp_path: Path) -> None:
    path = prepare_corpus(small_config, StateDir(tmp_path))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        lengths = pool.map(_length_of_words, [path] * 2, chunksize=1)
    assert len(set(lengths)) == 1
    assert [entry.name for entry in (path / "csr-cache").iterdir()] == ["train"]


@pytest.mark.parametrize("damage", ["manifest", "version", "vocabulary", "shard"])
def test_a_damaged_corpus_says_what_is_wrong(tmp_path: Path, damage: str) -> None:
    path = prepare_corpus(tiny(tmp_path / "rows.jsonl", ROWS), StateDir(tmp_path / "home"))
    manifest = path / "manifest.json"
    if damage == "manifest":
        manifest.unlink()
        message = "not a prepared corpus"
    elif damage == "version":
        manifest.write_text(manifest.read_text().replace('"schema_version": ', '"schema_version": 99'))
        message = "schema version 99\\d"
    elif damage == "vocabulary":
        (path / "vocabulary.json").write_text((path / "vocabulary.json").read_text().replace("alpha", "omega"))
        message = "not the vocabulary"
    else:
        (path / "train" / "part-00000.parquet").unlink()
        message = "hold 0 documents"
    with pytest.raises(CorpusError, match=message):
        PreparedCorpus.open(path).train.matrix()
