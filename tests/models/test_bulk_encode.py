"""Bulk encoding: the codes of single texts, the same bytes after an interruption, and nothing mixed up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.small_disk import small_disk
from texthash.corpora.document import Document
from texthash.corpora.preparation import reading
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.text_sources import Texts, open_texts
from texthash.errors import CorpusError, ModelMismatchError, UsageError
from texthash.executor import LocalExecutor
from texthash.hamming.interop import read_codes
from texthash.models.bulk_encode import encode_texts
from texthash.models.code_files import RECORD
from texthash.models.hasher import Hasher
from texthash.paths import StateDir


class Interrupted(LocalExecutor):
    """Interrupts the work after as many chunks as it has threads."""

    def map_with(self, make: Any, tasks: Any, **options: Any) -> Iterator[Any]:
        results = (count for counts in super().map_with(make, tasks, **options) for count in counts)
        for number, count in enumerate(results):
            if number == self.threads:
                raise KeyboardInterrupt
            yield [count]


@pytest.fixture
def texts(small_documents: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Texts:
    """600 documents, one of them without a known word, in three files of several chunks each."""
    monkeypatch.setattr(reading, "_CHUNK_DOCUMENTS", 64)
    folder = tmp_path / "rows"
    folder.mkdir()
    rows = [{"id": d.id, "text": d.text} for d in small_documents[:600]]
    rows[70]["text"] = "qqqq"
    for number in range(3):
        lines = (json.dumps(row) + "\n" for row in rows[200 * number : 200 * (number + 1)])
        (folder / f"{number}.jsonl").write_text("".join(lines))
    return open_texts(str(folder), StateDir(tmp_path))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def documents(texts: Texts) -> list[Document]:
    return [document for part in texts.parts for document in part()]


def test_codes_are_those_of_the_texts_one_by_one(small_hasher: Path, texts: Texts, tmp_path: Path) -> None:
    hasher, given = Hasher.load(small_hasher), documents(texts)
    found = encode_texts(small_hasher, texts, tmp_path / "codes", activations=True)
    assert (found.documents, found.encoded, found.unknown, found.bits) == (600, 600, 1, 32)
    table = pq.read_table(tmp_path / "codes")
    assert table["id"].to_pylist() == [document.id for document in given]
    assert [row for row, known in enumerate(table["known_words"].to_pylist()) if not known] == [70]
    values = hasher.read([document.text for document in given]).values
    codes = np.stack([np.frombuffer(code, np.uint8) for code in table["code"].to_pylist()])
    np.testing.assert_array_equal(codes, hasher.binarize(values))
    np.testing.assert_allclose(np.stack(table["activations"].to_numpy()), values.numpy(), rtol=1e-5, atol=1e-6)

    encode_texts(small_hasher, texts, tmp_path / "codes.npy")
    np.save(tmp_path / "by_numpy.npy", codes)
    assert (tmp_path / "codes.npy").read_bytes() == (tmp_path / "by_numpy.npy").read_bytes()
    encode_texts(small_hasher, texts, tmp_path / "codes.parquet")
    read, ids = read_codes(tmp_path / "codes.parquet")
    np.testing.assert_array_equal(read, codes)
    assert ids == [document.id for document in given]
    assert not list(tmp_path.glob(".*")), "neither what was unfinished nor a lock"


def test_an_interrupted_run_goes_on_and_leaves_the_same_bytes(
    small_hasher: Path, texts: Texts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encode_texts(small_hasher, texts, tmp_path / "whole")
    output = tmp_path / "codes"

    with pytest.raises(KeyboardInterrupt):
        encode_texts(small_hasher, texts, output, executor=Interrupted(5))
    assert not output.exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / ".codes.partial" / "parts").iterdir()}
    assert len(kept) == 6

    class Checking(LocalExecutor):
        def map_with(self, make: Any, tasks: Any, **options: Any) -> Iterator[Any]:
            assert [task["piece"].number for task in tasks] == [1, 2], "the first part is done"
            yield from super().map_with(make, tasks, **options)
            assert {path: path.stat().st_mtime_ns for path in kept} == kept

    found = encode_texts(small_hasher, texts, output, executor=Checking())
    assert (found.documents, found.encoded) == (600, 600 - 200 - 2 * 64)
    assert "1 of 3 parts are done already" in capsys.readouterr().err
    assert contents(output) == contents(tmp_path / "whole")
    again = encode_texts(small_hasher, texts, output)
    assert (again.documents, again.unknown, again.encoded) == (600, 1, 0)


@pytest.mark.parametrize("name", ["codes", "codes.npy", "codes.parquet"])
def test_a_run_that_died_after_its_output_was_there_has_finished(
    small_hasher: Path, texts: Texts, tmp_path: Path, name: str
) -> None:
    output, staged = tmp_path / name, tmp_path / f".{name}.partial"
    encode_texts(small_hasher, texts, output)
    facts = json.loads((output / RECORD if output.is_dir() else tmp_path / f"{name}.json").read_text())
    (staged / "parts").mkdir(parents=True)
    (staged / "record.json").write_text(json.dumps(facts["record"]))
    found = encode_texts(small_hasher, texts, output)
    assert (found.documents, found.encoded, staged.exists()) == (600, 0, False)


@pytest.mark.parametrize("name", ["codes.npy", "codes.parquet"])
def test_a_disk_that_becomes_full_leaves_no_file_without_its_record(
    small_hasher: Path, texts: Texts, tmp_path: Path, name: str
) -> None:
    with small_disk(tmp_path / "disk", 4) as disk:
        output, named = disk.path / name, set[bool]()
        for pages in range(0, 200, 2):
            disk.fill(pages)
            try:
                found = encode_texts(small_hasher, texts, output)
            except OSError as error:
                named.add(str(error.filename).startswith(str(disk.path)))
            else:
                break
            assert {file.name for file in disk.path.iterdir() if not file.name.startswith(".")} == {"ballast"}
        assert named == {True}
        assert found.documents == 600
        assert {file.name for file in disk.path.iterdir()} == {"ballast", name, f"{name}.json"}


def test_workers_that_share_a_part_leave_the_same_bytes(small_hasher: Path, texts: Texts, tmp_path: Path) -> None:
    encode_texts(small_hasher, texts, tmp_path / "alone")

    class Backwards(LocalExecutor):
        def map_with(self, make: Any, tasks: Any, **options: Any) -> Iterator[Any]:
            assert {task["piece"].turns for task in tasks} == {4}
            yield from super().map_with(make, list(reversed(tasks)), **options)

    found = encode_texts(small_hasher, texts, tmp_path / "shared", executor=Backwards(4))
    assert found.encoded == 600
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


def test_codes_of_another_model_are_never_added_to(small_hasher: Path, texts: Texts, tmp_path: Path) -> None:
    other = Path(shutil.copytree(small_hasher, tmp_path / "other"))
    record = json.loads((other / "hasher.json").read_text())
    (other / "hasher.json").write_text(json.dumps(record))  # the same values, other bytes: another digest

    for name in ("codes", "codes.npy"):
        encode_texts(small_hasher, texts, tmp_path / name)
        with pytest.raises(ModelMismatchError, match=f"{name} is of the model .*itq, 32 bits.*not of"):
            encode_texts(other, texts, tmp_path / name)
    with pytest.raises(KeyboardInterrupt):
        encode_texts(small_hasher, texts, tmp_path / "half", executor=Interrupted(1))
    with pytest.raises(ModelMismatchError, match=r"the unfinished .*\.half\.partial"):
        encode_texts(other, texts, tmp_path / "half")
    with pytest.raises(UsageError, match="role 'document' then, 'query' now"):
        encode_texts(small_hasher, texts, tmp_path / "codes", role="query")


def test_what_cannot_be_written_is_said_before_it_begins(small_hasher: Path, texts: Texts, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("kept")
    for name, says in (("mine", "not written by"), ("codes.txt", "is not a supported format")):
        with pytest.raises(UsageError, match=says):
            encode_texts(small_hasher, texts, tmp_path / name)
    with pytest.raises(UsageError, match="can only hold codes"):
        encode_texts(small_hasher, texts, tmp_path / "codes.npy", activations=True)
    assert (tmp_path / "mine" / "file").read_text() == "kept"


def test_an_output_among_its_own_texts_is_refused(
    small_hasher: Path, small_corpus: PreparedCorpus, tmp_path: Path
) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"id": "a", "text": "sort an array"}\n')
    (tmp_path / "link").symlink_to(folder)
    given = open_texts(str(folder), StateDir(tmp_path))
    for output in (folder / "codes", folder / "codes.npy", folder / "more" / "codes", tmp_path / "link" / "codes"):
        with pytest.raises(UsageError, match=r"codes.* is in .*texts, which is read"):
            encode_texts(small_hasher, given, output)
    corpus = open_texts(str(small_corpus.path), StateDir(tmp_path))
    with pytest.raises(UsageError, match="which is read"):
        encode_texts(small_hasher, corpus, small_corpus.path / "codes")
    assert [path.name for path in folder.iterdir()] == ["a.jsonl"]


def test_a_bad_row_ends_it_and_what_was_done_before_stays(small_hasher: Path, texts: Texts, tmp_path: Path) -> None:
    bad = tmp_path / "rows" / "2.jsonl"
    lines = bad.read_text().splitlines(keepends=True)
    for wrong, says in (("{\n", "2.jsonl:151: not JSON"), ('{"text": "\\ud800"}\n', "2.jsonl:151: .*half a character")):
        bad.write_text("".join([*lines[:150], wrong, *lines[151:]]))
        given = open_texts(str(tmp_path / "rows"), StateDir(tmp_path))
        output = tmp_path / f"codes{len(wrong)}"
        with pytest.raises(CorpusError, match=says):
            encode_texts(small_hasher, given, output)
        assert not output.exists()
        assert len(list((tmp_path / f".{output.name}.partial" / "parts").iterdir())) == 4 + 4 + 2


def test_nothing_to_encode_is_an_error(small_hasher: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(CorpusError, match="no document"):
        encode_texts(small_hasher, open_texts(str(tmp_path / "empty.jsonl"), StateDir(tmp_path)), tmp_path / "codes")
