"""Exchanging the model of a live index: the documents stay exactly those that are live, and so do their numbers."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.index.test_unknown_words import UNKNOWN, is_apart, near, put_in
from texthash.cli import main
from texthash.config import CorpusConfig, TrainingConfig, parse_config
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.deployment.champion import AliasNotMovedError, releasing
from texthash.deployment.promote import promote, roll_back
from texthash.deployment.release_model import make_release, register
from texthash.errors import ModelMismatchError, TexthashError
from texthash.experiments.experiment import Experiment
from texthash.index.releases.publish import ReleaseMovedError, publish
from texthash.index.releases.release import OpenRelease, list_releases, open_release, read_release
from texthash.index.releases.snapshots import list_snapshots, take_snapshot
from texthash.index.releases.verify import verify
from texthash.index.storage.arrow_schema import Coded
from texthash.index.writing import reencode as transfers
from texthash.index.writing.build import build_index
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.tracking.registry import Registry
from texthash.training.loop import fit


@pytest.fixture(scope="module")
def models(small_corpus: PreparedCorpus, small_hasher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Saved models of 32 bits on the small corpus: itq, lsh, and sth, which has its own codes of train documents."""
    root = tmp_path_factory.mktemp("models")
    shutil.copytree(small_hasher, root / "itq")
    for name, bits in (("lsh", 32), ("sth", 32), ("lsh", 16)):
        method = fit(build(name, small_corpus.shape, bits), small_corpus.train, TrainingConfig()).method
        Hasher.of(method, small_corpus).save(root / (name if bits == 32 else "narrow"))
    return root


@pytest.fixture(scope="module")
def released(models: Path, small_corpus: PreparedCorpus, tmp_path_factory: pytest.TempPathFactory) -> StateDir:
    """A released index in which some prepared documents are replaced or deleted and others were put in."""
    found = StateDir(tmp_path_factory.mktemp("released"))
    shutil.copytree(small_corpus.path, found.corpus("small", "random60"))
    shutil.copytree(models, found.root / "models")
    model = found.root / "models" / "itq"
    publish(found, model, build_index(model, small_corpus.path, found, shards=2))
    some = small_corpus.train.ids
    write(found, put=[some[3], "new/1", "new/2"], out=[some[0], some[1], small_corpus.validation.ids[0]])
    return found


@pytest.fixture
def home(released: StateDir, tmp_path: Path) -> StateDir:
    return StateDir(Path(shutil.copytree(released.root, tmp_path / "home")))


def document(id_: str, text: str) -> IndexDocument:
    return IndexDocument(id_, text, f"title of {id_}", ("own", "it's"))


def write(
    home: StateDir, put: list[str] | None = None, out: list[str] | None = None, text: str = "sort rows of"
) -> None:
    hasher = read_release(home).open_hasher(home)
    with IndexWriter.open(home) as writer:
        if put:
            documents = [document(id_, f"{text} {id_.replace('/', ' ')} array") for id_ in put]
            writer.upsert(documents, hasher.encode([found.text for found in documents]))
        if out:
            writer.delete(ids=out)


def contents(opened: OpenRelease) -> dict[str, tuple]:
    """Everything of every document but its code, by id."""
    found = {}
    for shard in opened.shards:
        for number, row in zip(shard.numbers, shard.documents(shard.numbers, ["title", "text", "labels"]), strict=True):
            found[row["id"]] = (int(number), row["title"], row["text"], tuple(row["labels"]))
    return found


def codes(opened: OpenRelease) -> dict[str, bytes]:
    return {row["id"]: row["code"] for shard in opened.shards for row in shard.documents(shard.numbers, ["code"])}


def assert_recoded(home: StateDir, expected: dict[str, tuple], method: str) -> OpenRelease:
    """What is current holds these documents, with the codes that its model gives their texts, and nothing is left."""
    opened = open_release(home)
    assert opened.release.method == method
    assert contents(opened) == expected
    made, texts = codes(opened), {id_: row[2] for id_, row in expected.items()}
    again = dict(zip(texts, opened.hasher.encode(list(texts.values())), strict=True))
    if method != "sth":
        assert {id_: code.tobytes() for id_, code in again.items()} == made
    assert [finding for finding in verify(home) if not finding.ok] == []
    assert list_snapshots(home) == []
    return opened


def test_the_new_index_holds_exactly_the_live_documents(home: StateDir) -> None:
    expected = contents(open_release(home))
    release = promote(home, home.root / "models" / "lsh", version=None)
    assert_recoded(home, expected, "lsh")
    assert release.next_number == read_release(home, "r000003").next_number
    assert promote(home, home.root / "models" / "lsh") == release, "it is served already"


def test_the_new_model_decides_which_documents_have_a_known_word(
    home: StateDir, small_config: CorpusConfig, tmp_path: Path
) -> None:
    """A model of fewer words knows none of some texts, which are no neighbours then, and are again after it."""
    edition = small_config.edition.model_copy(update={"vocabulary_size": 40})
    few = PreparedCorpus.open(
        prepare_corpus(small_config.model_copy(update={"edition": edition}), StateDir(tmp_path / "few"))
    )
    method = fit(build("lsh", few.shape, 32), few.train, TrainingConfig()).method
    narrow = Hasher.of(method, few).save(home.root / "models" / "few")
    put_in(home, odd=UNKNOWN)
    assert is_apart(home, "odd")
    everything = near(open_release(home))
    promote(home, narrow)
    put_in(home, late=UNKNOWN)
    opened = open_release(home)
    assert opened.release.method == "lsh"
    texts = {id_: row[2] for id_, row in contents(opened).items()}
    known = opened.hasher.read(list(texts.values())).known
    apart = {id_ for id_, is_known in zip(texts, known, strict=True) if not is_known}
    assert {"odd", "late"} < apart, "the smaller vocabulary leaves more than these out"
    assert near(opened) == near(opened, "mih") == texts.keys() - apart
    assert is_apart(home, "odd")
    assert is_apart(home, "late")
    assert [finding for finding in verify(home, sample=5_000) if not finding.ok] == []
    roll_back(home)
    assert near(open_release(home)) == everything
    assert is_apart(home, "odd")
    assert is_apart(home, "late")


def test_codes_of_the_methods_own_are_kept_for_unchanged_train_documents(
    home: StateDir, small_corpus: PreparedCorpus
) -> None:
    promote(home, home.root / "models" / "sth")
    opened = open_release(home)
    made, own = codes(opened), opened.hasher.method.database_codes()
    assert own is not None
    texts = opened.hasher.encode(
        [text for table in small_corpus.train.documents() for text in table["text"].to_pylist()]
    )
    assert (texts != own).any(), "the corpus cannot tell the two kinds of code apart"
    ids = small_corpus.train.ids
    replaced = contents(opened)[ids[3]][2]
    assert made[ids[3]] == opened.hasher.encode([replaced])[0].tobytes()
    live = [row for row, id_ in enumerate(ids) if id_ in made and row != 3]
    assert [made[ids[row]] for row in live] == [own[row].tobytes() for row in live]


@contextmanager
def meanwhile(monkeypatch: pytest.MonkeyPatch, where: tuple[object, str], *writes) -> Iterator[None]:
    """Each write is made after one call of a function."""
    waiting, original = list(writes), getattr(*where)

    def called(*args, **kwargs):
        found = original(*args, **kwargs)
        if waiting:
            waiting.pop(0)()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(*where, called)
        yield
    assert not waiting


def test_writes_that_come_meanwhile_are_in_the_new_index(
    home: StateDir, small_corpus: PreparedCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = small_corpus.train.ids

    def first() -> None:
        write(home, put=[f"late/{n}" for n in range(90)] + [ids[5]], out=["new/1", ids[6]], text="plot figures of")

    def second() -> None:
        write(home, put=["new/1", "late/3"], out=["late/5"], text="merge tables of")
        with IndexWriter.open(home) as writer:
            writer.compact()

    with (
        meanwhile(monkeypatch, (transfers, "recode_index"), first),
        meanwhile(monkeypatch, (transfers.IndexMigration, "catch_up"), second),
    ):
        promote(home, home.root / "models" / "lsh")
    before = max((r for r in list_releases(home) if r.method == "itq"), key=lambda r: r.version)
    opened = open_release(home, before.name)
    assert_recoded(home, contents(opened), "lsh")
    assert "late/5" not in contents(opened)


def test_rollback_takes_what_was_written_since_along_and_a_second_one_comes_back(
    home: StateDir, small_corpus: PreparedCorpus
) -> None:
    ids = small_corpus.train.ids
    promote(home, home.root / "models" / "lsh")
    write(home, put=["since/1", ids[8], "new/2"], out=[ids[9]])
    write(home, out=["new/1"])
    write(home, put=["new/1"])
    expected = contents(open_release(home))
    roll_back(home)
    assert_recoded(home, expected, "itq")
    write(home, put=["since/2"], out=["since/1"])
    expected = contents(open_release(home))
    roll_back(home)
    assert_recoded(home, expected, "lsh")
    roll_back(home)
    assert_recoded(home, expected, "itq")


@pytest.mark.parametrize("broken", ["release", "snapshot"])
def test_a_broken_record_that_is_not_needed_stops_neither_promotion_nor_rollback(
    home: StateDir, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(home, put=["new/3"])
    unneeded = read_release(home).name
    write(home, put=["new/4"])
    take_snapshot(home, "kept")
    record = home.root / {"release": f"releases/{unneeded}.json", "snapshot": "snapshots/kept.json"}[broken]
    record.write_text("{", encoding="utf-8")
    expected = contents(open_release(home))
    release = promote(home, home.root / "models" / "lsh", version=None)
    assert (release.method, contents(open_release(home))) == ("lsh", expected)
    back = roll_back(home)
    assert (back.method, contents(open_release(home))) == ("itq", expected)
    assert str(record) in capsys.readouterr().err


def test_a_rollback_without_the_record_of_the_common_state_says_so(home: StateDir) -> None:
    promote(home, home.root / "models" / "lsh", version=None)
    write(home, put=["new/3"])
    [first] = [r for r in list_releases(home) if r.index_uri == read_release(home).index_uri and r.parent is None]
    (home.root / "releases" / f"{first.name}.json").write_text("", encoding="utf-8")
    with pytest.raises(TexthashError, match=r"the record of the release that began the index .*\n.*restore it"):
        roll_back(home)
    assert read_release(home).method == "lsh"


def test_a_write_on_its_way_is_refused_by_name(home: StateDir) -> None:
    hasher = read_release(home).open_hasher(home)
    with IndexWriter.open(home) as writer:
        promote(home, home.root / "models" / "lsh")
        with pytest.raises(ReleaseMovedError, match="is current now"):
            writer.upsert([document("late", "a text")], hasher.encode(["a text"]))
    assert "late" not in contents(open_release(home))


def test_a_model_that_does_not_compete_is_refused(home: StateDir) -> None:
    before = read_release(home)
    with pytest.raises(ModelMismatchError, match=r"random60-16, but the served one is of .*random60-32"):
        promote(home, home.root / "models" / "narrow")
    with pytest.raises(TexthashError, match="no model was served before"):
        roll_back(home)
    assert read_release(home) == before


def test_an_index_that_is_not_as_it_should_be_does_not_take_over(
    home: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list_releases(home)
    original = transfers.Encode.code

    def inverted(encode: transfers.Encode, *documents: Any) -> Coded:
        coded = original(encode, *documents)
        return replace(coded, codes=~coded.codes)

    monkeypatch.setattr(transfers.Encode, "code", inverted)
    with pytest.raises(TexthashError, match="texts have another code now"):
        promote(home, home.root / "models" / "lsh")
    assert list_releases(home) == before


def test_a_document_without_text_stops_a_promotion(home: StateDir) -> None:
    with IndexWriter.open(home) as writer:
        writer.upsert([IndexDocument("bare", "")], np.zeros((1, 4), np.uint8))
        before = writer.release
    with pytest.raises(TexthashError, match="'bare' has no text"):
        promote(home, home.root / "models" / "lsh")
    assert read_release(home) == before


def test_an_interrupted_promotion_goes_on(home: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    original = transfers.write_shard

    def stop_at_the_second(path, batches, identity, next_number):
        if identity.shard == 1 and len(written) == 1:
            raise KeyboardInterrupt
        written.append(identity.shard)
        return original(path, batches, identity, next_number)

    with monkeypatch.context() as patch:
        patch.setattr(transfers, "write_shard", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            promote(home, home.root / "models" / "lsh")
        write(home, put=["new/3"], out=["new/2"])
        written += [9]  # now the second may be written
        promote(home, home.root / "models" / "lsh")
    assert written == [0, 9, 1]
    held = max((r for r in list_releases(home) if r.method == "itq"), key=lambda r: r.version)
    assert_recoded(home, contents(open_release(home, held.name)), "lsh")


def test_writers_wait_only_for_the_last_round(home: StateDir) -> None:
    """Another thread writes all the while: no write that returned is lost, whichever index took it."""
    stop, returned = threading.Event(), []

    def keep_writing() -> None:
        number = 0
        while not stop.is_set():
            try:
                write(home, put=[f"busy/{number}"])
            except ReleaseMovedError:
                continue
            returned.append(f"busy/{number}")
            number += 1

    writing = threading.Thread(target=keep_writing)
    writing.start()
    try:
        promote(home, home.root / "models" / "lsh")
        count = len(returned)
        while len(returned) < count + 2:
            assert writing.is_alive()
    finally:
        stop.set()
        writing.join()
    assert set(returned) <= set(contents(open_release(home)))
    assert read_release(home).method == "lsh"


def test_a_promotion_waits_for_a_release_that_is_being_made(home: StateDir, caplog: pytest.LogCaptureFixture) -> None:
    before = read_release(home)
    caplog.set_level("INFO", "texthash")
    promoting = threading.Thread(target=promote, args=(home, home.root / "models" / "lsh"))
    with releasing(home):
        promoting.start()
        while "waiting for another process" not in caplog.text:
            assert promoting.is_alive(), "it did not wait"
            time.sleep(0.01)
        assert read_release(home) == before
    promoting.join()
    assert read_release(home).method == "lsh"


@pytest.fixture
def two_models(small_corpus: PreparedCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    """Experiments of itq and lsh over one home, the one of commands."""
    home = StateDir(tmp_path)
    corpus = PreparedCorpus.open(shutil.copytree(small_corpus.path, home.corpus("small", "random60")))
    source = small_corpus.manifest.config.model_dump(mode="json")
    monkeypatch.setenv("TEXTHASH_HOME", str(home.root))
    return [
        Experiment(parse_config({"corpus": source, "method": {"name": name, "bits": 16}}), home, corpus)
        for name in ("itq", "lsh")
    ]


def test_a_store_that_fails_at_the_end_is_named_and_the_command_again_moves_the_alias(
    two_models: list[Experiment], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, registry = two_models[0].home, two_models[0].tracker.registry
    itq, lsh = (study.train(0) for study in two_models)
    versions = [register(study, model) for study, model in zip(two_models, (itq, lsh), strict=True)]

    def served() -> tuple[str, str]:
        return read_release(home).method, registry.champion(read_release(home).model)[1]

    def command(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["serve", *arguments])
        return ended.value.code, capsys.readouterr().err

    with broken_aliases(registry), pytest.raises(AliasNotMovedError, match=r"r000001 is served.*was not moved"):
        make_release(two_models[0], itq, versions[0])
    assert read_release(home).method == "itq"
    assert command("promote", versions[0])[0] == 0
    assert served() == ("itq", "1")
    with broken_aliases(registry):
        status, said = command("promote", lsh.name)
    assert (status, served()) == (1, ("lsh", "1"))
    assert "version 2, but the alias champion was not moved" in said
    assert "run `texthash serve promote 2`, which moves the alias" in said
    released = read_release(home)
    assert command("promote", lsh.name)[0] == 0
    assert (served(), read_release(home)) == (("lsh", "2"), released)
    with broken_aliases(registry):
        assert command("rollback")[0] == 1
    assert served() == ("itq", "2")
    assert command("promote", "1")[0] == 0
    assert served() == ("itq", "1")


@contextmanager
def broken_aliases(registry: Registry) -> Iterator[None]:
    """A store that takes everything but aliases."""
    events = ("INSERT", "UPDATE")
    with closing(sqlite3.connect(registry.uri.removeprefix("sqlite:///"))) as store, store:
        for event in events:
            store.execute(
                f"CREATE TRIGGER no_{event} BEFORE {event} ON registered_model_aliases "
                "BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
            )
    try:
        yield
    finally:
        with closing(sqlite3.connect(registry.uri.removeprefix("sqlite:///"))) as store, store:
            for event in events:
                store.execute(f"DROP TRIGGER no_{event}")


def test_the_commands_move_the_champion(two_models: list[Experiment], capsys: pytest.CaptureFixture[str]) -> None:
    studies, home = two_models, two_models[0].home
    itq, lsh = (study.train(0) for study in studies)
    make_release(studies[0], itq, register(studies[0], itq))
    write(home, put=["new/1"])

    def serve(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["serve", *arguments])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    def served() -> tuple[str, str | None, str]:
        release = read_release(home)
        return release.method, release.model_version, studies[0].tracker.registry.champion(release.model)[1]

    assert served() == ("itq", "1", "1")
    status, out, _ = serve("promote", lsh.name)
    assert (status, json.loads(out)["run"], served()) == (0, lsh.run.run_id, ("lsh", "2", "2"))
    assert serve("rollback")[0] == 0
    assert served() == ("itq", "1", "1")
    assert serve("promote", "2")[0] == 0
    assert served() == ("lsh", "2", "2")
    assert "new/1" in contents(open_release(home))
    status, _, said = serve("promote", "3")
    assert (status, "has no version 3" in said) == (1, True)
    status, _, said = serve("servcie.port=1")
    assert (status, "did you mean 'service'?" in said) == (2, True), "without a command it starts"
