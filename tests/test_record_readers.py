"""Records on disk that are damaged: each reader names the file and a remedy, or leaves the record out and says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from texthash.capacity import Rates, keep_rates, kept_rates
from texthash.config import Config, CorpusConfig
from texthash.corpora.preparation.staging import PartRead, Reading, Staging
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.embeddings.stored import features_of
from texthash.corpora.prepared.manifest import Manifest, SourceFile
from texthash.corpora.text_sources import open_texts
from texthash.corpora.words import Vocabulary
from texthash.errors import TexthashError
from texthash.evaluation.results import Evaluation
from texthash.experiments.compare import find_run
from texthash.experiments.grid.folder import CellRecord, StudyFolder
from texthash.experiments.grid.plan import Plan
from texthash.experiments.trained_models import TrainedModel, find_model
from texthash.index.writing.writer_lock import IndexLockedError, WriterLock, service_of
from texthash.io.atomic import write_json
from texthash.models.bulk_encode import encode_texts
from texthash.models.files import read_hasher_record
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.tracking import Run
from texthash.tracking.outbox import Outbox, RunStart
from texthash.training.checkpoints import read_state, write_state
from texthash.training.loop import EpochReport
from texthash.tuning.cost_estimate import cost
from texthash.tuning.sweep_record import Sweep, open_sweep

Call = Callable[[], object]
Make = Callable[[Path], tuple[Path, Call]]


@dataclass(frozen=True)
class Case:
    """A record and one of its readers.

    Attributes:
        make: Writes the record below a directory; gives its path and the reader.
        required: Members without which it cannot be read.
        skipped: Whether the reader leaves a damaged record out, with a line, instead of ending.
    """

    make: Callable[..., tuple[Path, Call]]
    required: frozenset[str]
    skipped: bool = False


CASES: dict[str, Case] = {}


def case(*required: str, skipped: bool = False) -> Callable[[Callable[..., tuple[Path, Call]]], None]:
    def add(make: Callable[..., tuple[Path, Call]]) -> None:
        CASES[make.__name__.strip("_").replace("_", " ")] = Case(make, frozenset(required), skipped)

    return add


@dataclass(frozen=True)
class Place:
    """What a case may use: a state directory of its own, a small corpus and a saved model."""

    home: StateDir
    corpus: PreparedCorpus
    hasher: Path

    @property
    def root(self) -> Path:
        return self.home.root


@pytest.fixture
def place(tmp_path: Path, small_corpus: PreparedCorpus, small_hasher: Path) -> Place:
    return Place(StateDir(tmp_path / "home"), small_corpus, small_hasher)


def _config(**changes: Any) -> Config:
    return Config().derive(corpus={"name": "small"}, method={"name": "itq", "bits": 32}, **changes)


@case("bits", "scan_ns", "batch_ns", "machine", "measured")
def _measured_rates(place: Place) -> tuple[Path, Call]:
    keep_rates(place.home, Rates(32, 1.0, 0.5, "a processor", "2026-01-01T00:00:00+00:00"))
    return place.root / "calibration" / "32.json", lambda: kept_rates(place.home, 32)


def _evaluation() -> Evaluation:
    codes = np.zeros((3, 4), np.uint8)
    return Evaluation(
        corpus="small",
        edition="random60",
        split="validation",
        bits=32,
        k=100,
        metrics={"p_at_100": 0.5, "map": float("nan")},
        curves={"k": [1.0, 2.0]},
        diagnostics={"entropy": 0.5},
        warnings=["few documents"],
        per_query=np.zeros(3),
        query_codes=codes,
        database_codes=codes,
        query_labels=np.zeros(3, np.int32),
    )


@case("format", "corpus", "split", "bits", "k", "metrics", "curves", "diagnostics", "warnings", "measure")
def _evaluation_on_disk(place: Place) -> tuple[Path, Call]:
    directory = _evaluation().save(place.root / "validation")
    return directory / "evaluation.json", lambda: Evaluation.load(directory)


def _trained(place: Place) -> TrainedModel:
    directory = place.home.runs / "models" / "itq-small-random60-32b-s0-0123abcd"
    shutil.copytree(place.hasher, directory / "hasher")
    report = EpochReport("fit", 1, 1, {"loss": 0.5}, None, 1.0, 100.0, 1)
    model = TrainedModel(directory, _config(), Run("sqlite:///x", "0123abcd" * 4), "", 0.5, 1.0, [report], "d", "c")
    model.write()
    return model


@case("model_id", "seconds", "data", "commit", "config", "run", "history")
def _trained_model(place: Place) -> tuple[Path, Call]:
    directory = _trained(place).directory
    return directory / "run.json", lambda: find_model(place.home, directory.name)


@case("config", "history", skipped=True)
def _trained_model_of_an_estimate(place: Place) -> tuple[Path, Call]:
    return _trained(place).directory / "run.json", lambda: cost(_config(), place.home)


@case("config", "history", "run", skipped=True)
def _trained_model_among_others(place: Place) -> tuple[Path, Call]:
    directory = _trained(place).directory
    other = directory.with_name(directory.name.replace("-s0-", "-s1-"))
    shutil.copytree(directory, other)
    path = directory / "run.json"
    return path, lambda: find_run(place.home, "0123abcd")


@case("format", "method", "params", "bits", "shape", "corpus", "edition", "vocabulary_hash")
def _saved_model(place: Place) -> tuple[Path, Call]:
    directory = shutil.copytree(place.hasher, place.root / "model")
    return directory / "hasher.json", lambda: Hasher.load(directory)


@case("corpus", "edition")
def _edition_of_a_trained_model(place: Place) -> tuple[Path, Call]:
    model = _trained(place)
    return model.hasher / "hasher.json", lambda: model.edition


@case("documents", "occurrences", "terms", "document_frequency")
def _vocabulary_of_a_model(place: Place) -> tuple[Path, Call]:
    directory = shutil.copytree(place.hasher, place.root / "model")
    path = directory / "vocabulary.json"
    return path, lambda: Vocabulary.read(path, "restore it.")


@case("name", "config", "splits", "dropped", "label_names", "vocabulary_hash", "source_checksum", "schema_version")
def _manifest_of_a_corpus(place: Place) -> tuple[Path, Call]:
    place.home.make()
    shutil.copy(place.corpus.path / "manifest.json", place.root)
    return place.root / "manifest.json", lambda: Manifest.read(place.root)


@case("encoder", "width")
def _sentence_vectors(place: Place) -> tuple[Path, Call]:
    folder = place.root / "cache" / "features" / "minilm"
    folder.mkdir(parents=True)
    write_json(folder / "encoder.json", {"encoder": "minilm@0123", "width": 384})
    return folder / "encoder.json", lambda: features_of(place.root / "cache", "minilm")


@case("identity", "created")
def _sweep(place: Place) -> tuple[Path, Call]:
    sweep = _sweep_of(place)
    return sweep.directory / "sweep.json", lambda: Sweep.read(sweep.directory)


@case("identity", "created", skipped=True)
def _sweep_among_others(place: Place) -> tuple[Path, Call]:
    return _sweep_of(place).directory / "sweep.json", lambda: open_sweep(_config(), place.corpus, place.home)


def _sweep_of(place: Place) -> Sweep:
    trial = {"trial": "a", "params": {"iterations": 3}, "validation": 0.5, "epochs": 1, "fate": "done"}
    found = {"params": {"iterations": 3}, "validation": 0.5, "trials": [trial]}
    directory = place.home.runs / "sweeps" / "itq-small-random60-32b-20260101-000000-000"
    sweep = Sweep(directory, "0123", "run", found)
    sweep.write()
    return sweep


def _study(place: Place) -> StudyFolder:
    plan = Plan.model_validate(
        {
            "name": "grid",
            "corpora": [{"corpus": {"name": "small", "path": "/nowhere/small.jsonl"}}],
            "methods": {"lsh": {}},
            "bits": [32],
        }
    )
    folder = StudyFolder.claim(plan, place.home)
    folder.save_run(Run("sqlite:///x", "0123abcd"))
    return folder


@case("format", "plan")
def _study_folder(place: Place) -> tuple[Path, Call]:
    return _study(place).path / "study.json", lambda: StudyFolder.open(place.home, "grid").run


@case("run", "commit", skipped=True)
def _record_of_a_cell(place: Place) -> tuple[Path, Call]:
    folder = _study(place)
    cell = folder.plan.cells[-1]
    folder.cell_dir(cell).mkdir(parents=True)
    folder.save_record(cell, CellRecord("run", "commit", figures={"validation": 0.5}, history=[{"epoch": 1}]))
    return folder.cell_dir(cell) / "cell.json", lambda: folder.finished(cell)


@case("directory")
def _model_of_a_cell(place: Place) -> tuple[Path, Call]:
    folder = _study(place)
    cell = folder.plan.cells[-1]
    folder.cell_dir(cell).mkdir(parents=True)
    folder.save_model(cell, _trained(place).directory)
    return folder.cell_dir(cell) / "model.json", lambda: folder.model(cell, place.home)


@case("measure")
def _relevance_of_a_study(place: Place) -> tuple[Path, Call]:
    folder = _study(place)
    folder.save_relevance(place.corpus)
    path = folder.path / "relevance" / "small-random60" / "validation" / "relevance.json"
    return path, lambda: folder.relevance("small-random60", "validation")


@case("uri", "server")
def _unsent_run(place: Place) -> tuple[Path, Call]:
    outbox, run = _outbox(place)
    return outbox.root / run / "record.json", lambda: outbox.uri(run)


def _outbox(place: Place) -> tuple[Outbox, str]:
    outbox = Outbox.of(place.home)
    return outbox, outbox.begin("http://127.0.0.1:1", RunStart("e", "n", {"kind": "model"}, 1))


def _staging(place: Place) -> Staging:
    return Staging(place.root / "staging", CorpusConfig(name="small"))


@case("sizes", "dropped", "remarks", "labels", "queries", "checksums")
def _part_of_a_preparation(place: Place) -> tuple[Path, Call]:
    staging = _staging(place)
    write_json(staging.part(0), asdict(PartRead([1], {}, {}, ["a"], 0, ["c"])))
    return staging.part(0), lambda: staging.part_read(0)


@case("chunks", "starts", "splits", "label_names", "pairs", "checksum")
def _reading_of_a_preparation(place: Place) -> tuple[Path, Call]:
    staging = _staging(place)
    path = staging.root / "reading.json"
    write_json(path, asdict(Reading(["000000-000000"], [0, 1], [[1, 0, 0]], {}, {}, ["a"], False, "c")))
    return path, staging.reading


@case("files", "parts", skipped=True)
def _begin_of_a_preparation(place: Place) -> tuple[Path, Call]:
    staging, files = _staging(place), [SourceFile("a.jsonl", 3, "0" * 64)]
    staging.begin(files, 1)
    write_json(staging.root / "reading.json", {})
    return staging.root / "source.json", lambda: staging.is_read(files)


@case("record", "documents", "unknown")
def _encoded_texts(place: Place) -> tuple[Path, Call]:
    place.home.make()
    texts, output = place.root / "texts.jsonl", place.root / "codes"
    texts.write_text('{"text": "a table of numbers"}\n', encoding="utf-8")

    def encode() -> object:
        return encode_texts(place.hasher, open_texts(str(texts), place.home), output)

    encode()
    return output / "_codes.json", encode


# -- damage -----------------------------------------------------------------------------------------------------------

STRUCTURAL: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "blank": lambda whole: b" \n",
    "cut in the middle": lambda whole: whole[: len(whole) // 2],
    "cut before its end": lambda whole: whole.rstrip()[:-1],
    "zeros": lambda whole: bytes(len(whole)),
    "a list": lambda whole: b"[" + whole + b"]",
    "a number": lambda whole: b"7",
    "null": lambda whole: b"null",
    "not UTF-8": lambda whole: whole.replace(b'"', b'"\xff', 1),
    "UTF-16": lambda whole: whole.decode().encode("utf-16"),
    "nested too deeply": lambda whole: b'{"a":' + b"[" * 200_000,
    "a number without end": lambda whole: b'{"a": ' + b"9" * 10_000 + b"}",
}
OTHER_VALUES = [None, True, 7, -1, 1.5, "x", "", "../../x", "/etc/passwd", "\ud800", "a\nb", [], ["x"], {}, {"x": 1}]


def _outcome(call: Call, path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """``refused`` with an error that helps, ``skipped`` with a line, or ``read``; any other end fails the test."""
    capsys.readouterr()
    refused: TexthashError | None = None
    try:
        call()
    except TexthashError as error:
        refused = error
    if refused is not None:
        assert str(path) in refused.problem or str(path.parent) in refused.problem
        assert refused.remedy
        assert "\n" not in refused.problem
        return "refused"
    return "skipped" if str(path) in capsys.readouterr().err else "read"


@pytest.mark.parametrize("name", CASES)
def test_a_broken_file_is_named_with_a_remedy(name: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    one = CASES[name]
    path, call = one.make(place)
    whole = path.read_bytes()
    assert _outcome(call, path, capsys) == "read"
    for damage, change in STRUCTURAL.items():
        path.write_bytes(change(whole))
        assert _outcome(call, path, capsys) == ("skipped" if one.skipped else "refused"), damage
        if not path.exists():  # what is made anew is deleted
            path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(whole)


@pytest.mark.parametrize("name", CASES)
def test_a_member_of_another_kind_is_refused_or_left_out(
    name: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    one = CASES[name]
    path, call = one.make(place)
    whole = path.read_bytes()
    for members, removed in _without_a_member(json.loads(whole)):
        path.write_text(json.dumps(members), encoding="utf-8")
        found = _outcome(call, path, capsys)
        if removed in one.required:
            assert found == ("skipped" if one.skipped else "refused"), removed
    for members, changed in _with_other_values(json.loads(whole)):
        path.write_text(json.dumps(members), encoding="utf-8")
        found = _outcome(call, path, capsys)
        assert found in ("read", "skipped" if one.skipped else "refused"), changed
    path.write_bytes(whole)


def _without_a_member(members: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for name in members:
        yield {key: value for key, value in members.items() if key != name}, name


def _with_other_values(members: Any) -> Iterator[tuple[Any, str]]:
    """Yield copies in which one value, at any depth, is another one."""
    places = members.items() if isinstance(members, dict) else enumerate(members[:2])
    for name, value in list(places):
        for other in OTHER_VALUES:
            yield _replaced(members, name, other), f"{name}={other!r}"
        if isinstance(value, dict | list):
            for changed, what in _with_other_values(value):
                yield _replaced(members, name, changed), f"{name}.{what}"


def _replaced(members: Any, name: Any, value: Any) -> Any:
    if isinstance(members, dict):
        return {**members, name: value}
    return [value if number == name else kept for number, kept in enumerate(members)]


# -- paths that come from a file --------------------------------------------------------------------------------------


@pytest.mark.parametrize("corpus", ["../../elsewhere", "/etc", "a/b", "..", ".hidden", "", "a\nb"])
def test_no_name_in_the_record_of_a_model_leads_out_of_the_state_directory(place: Place, corpus: str) -> None:
    model = _trained(place)
    path = model.hasher / "hasher.json"
    members = {name: value for name, value in json.loads(path.read_bytes()).items() if name != "digest"}
    write_json(path, {**members, "corpus": corpus})
    with pytest.raises(TexthashError, match=r"hasher\.json is broken: corpus"):
        _ = model.edition


def test_the_model_of_a_cell_lies_in_the_state_directory(place: Place, tmp_path: Path) -> None:
    folder = _study(place)
    cell = folder.plan.cells[-1]
    folder.cell_dir(cell).mkdir(parents=True)
    elsewhere = shutil.copytree(_trained(place).directory, tmp_path / "elsewhere")
    (place.home.runs / "models" / "link").symlink_to(elsewhere)
    for directory in (elsewhere, place.home.runs / "models" / "link", place.home.runs / ".." / ".." / "elsewhere"):
        folder.save_model(cell, directory)
        with pytest.raises(TexthashError, match=r"model\.json is broken: "):
            folder.model(cell, place.home)


# -- records that are no object of JSON, or that are read leniently ---------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x02", bytes(100)])
def test_a_broken_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(TexthashError, match=r"checkpoint\.pt is broken: .*\n.*remedy: delete it"):
        read_state(path)


def test_a_checkpoint_that_is_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    write_state({"weights": torch.zeros(1000)}, path)
    whole = path.read_bytes()
    for length in (len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:length])
        with pytest.raises(TexthashError, match=r"checkpoint\.pt is broken: .*\n.*remedy: delete it"):
            read_state(path)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"x" * 100])
def test_a_broken_array_of_an_evaluation_is_named(tmp_path: Path, content: bytes) -> None:
    directory = _evaluation().save(tmp_path / "validation")
    (directory / "per_query.npy").write_bytes(content)
    with pytest.raises(TexthashError, match=r"per_query\.npy is broken: .*\n.*remedy: delete the directory"):
        Evaluation.load(directory)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"address": 7}', b'{"address": "ftp://x"}', b"\xff", b'{"process": []}']
)
def test_the_lock_of_a_writer_tells_what_it_can(tmp_path: Path, content: bytes) -> None:
    home = StateDir(tmp_path)
    lock = WriterLock(home, "index/a")
    lock.acquire("http://127.0.0.1:8000")
    assert service_of(home, "index/a") == "http://127.0.0.1:8000"
    (tmp_path / "locks" / "a.writer").write_bytes(content)
    assert service_of(home, "index/a") is None
    with pytest.raises(IndexLockedError, match=r"has a writer already: another process\.\n.*wait until it ends"):
        WriterLock(home, "index/a").acquire()
    lock.release()


def test_the_record_of_a_model_is_read_as_it_was_written(small_hasher: Path, small_corpus: PreparedCorpus) -> None:
    record = read_hasher_record(small_hasher)
    assert (record.method, record.bits, record.corpus) == ("itq", 32, "small")
    assert record.edition == small_corpus.manifest.config.edition
    assert record.shape == small_corpus.shape
