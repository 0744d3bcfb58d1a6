"""Texts to encode: what a name stands for, and what is said of rows that cannot be read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.text_sources import Columns, Texts, open_texts
from texthash.errors import CorpusError
from texthash.paths import StateDir

ROWS = [("a", "sort the values"), ("b", "plot, a figure"), ("c", "")]


def read(texts: Texts) -> list[tuple[str, str]]:
    return [(document.id, document.text) for part in texts.parts for document in part()]


def jsonl(rows: list[tuple[str, str]], text: str = "text", id_: str = "id") -> str:
    return "".join(json.dumps({id_: name, text: content}) + "\n" for name, content in rows)


def test_every_form_gives_the_same_documents_in_order(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(jsonl(ROWS))
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt") as file:
        file.write(jsonl(ROWS))
    (tmp_path / "rows.csv").write_text("id,text\n" + "".join(f'{id_},"{text}"\n' for id_, text in ROWS))
    pq.write_table(pa.table({"id": [r[0] for r in ROWS], "text": [r[1] for r in ROWS]}), tmp_path / "rows.parquet")
    for name in ("rows.jsonl", "rows.jsonl.gz", "rows.csv", "rows.parquet"):
        assert read(open_texts(str(tmp_path / name), StateDir(tmp_path))) == ROWS, name
    (tmp_path / "lines.txt").write_text("".join(f"{text}\n" for _, text in ROWS))
    lines = [(f"lines.txt:{number}", text) for number, (_, text) in enumerate(ROWS, 1)]
    assert read(open_texts(str(tmp_path / "lines.txt"), StateDir(tmp_path))) == lines


def test_large_files_are_parts_that_give_all_lines_once(tmp_path: Path) -> None:
    rows = [(str(number), f"{number} " + "word " * 200) for number in range(8000)]
    (tmp_path / "rows.jsonl").write_text(jsonl(rows))
    (tmp_path / "lines.txt").write_text("".join(f"{text}\n" for _, text in rows))
    found = open_texts(str(tmp_path / "rows.jsonl"), StateDir(tmp_path))
    assert len(found.parts) > 1
    assert read(found) == rows
    found = open_texts(str(tmp_path / "lines.txt"), StateDir(tmp_path))
    assert len(found.parts) > 1
    assert read(found) == [(f"lines.txt:{number}", text) for number, (_, text) in enumerate(rows, 1)]


def test_columns_of_other_names(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(jsonl(ROWS, "body", "key"))
    pq.write_table(pa.table({"key": [r[0] for r in ROWS], "body": [r[1] for r in ROWS]}), tmp_path / "rows.parquet")
    for name in ("rows.jsonl", "rows.parquet"):
        path = tmp_path / name
        assert read(open_texts(str(path), StateDir(tmp_path), Columns(("body",), "key"))) == ROWS
        for columns, missing in ((Columns(), "text"), (Columns(("body",), "number"), "number")):
            with pytest.raises(CorpusError, match=rf"{name}(:1)?: there is no column '{missing}'.*body") as raised:
                read(open_texts(str(path), StateDir(tmp_path), columns))
            assert "--text-column" in raised.value.remedy


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not JSON"),
        ('{"text": 3}', "text is the number 3"),
        ("[1]", "a list, not an object"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(jsonl(ROWS) + line + "\n")
    with pytest.raises(CorpusError, match=rf"rows.jsonl:4: {says}"):
        read(open_texts(str(path), StateDir(tmp_path)))


def test_a_prepared_corpus_by_name_and_by_directory(small_corpus: PreparedCorpus, tmp_path: Path) -> None:
    home = StateDir(small_corpus.path.parents[2])
    by_name, by_path = open_texts("small/random60", home), open_texts(str(small_corpus.path), home)
    assert by_name.version == by_path.version
    ids = [id_ for split in ("train", "validation", "test") for id_ in small_corpus.split(split).ids]
    assert [id_ for id_, _ in read(by_name)] == ids
    with pytest.raises(CorpusError, match=r"neither a file.*did you mean 'small/random60'"):
        open_texts("small/random61", home)


def test_the_version_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(jsonl(ROWS))
    before = open_texts(str(path), StateDir(tmp_path)).version
    assert open_texts(str(path), StateDir(tmp_path)).version == before
    assert open_texts(str(path), StateDir(tmp_path), Columns(("body",))).version != before
    path.write_text(jsonl(ROWS[:2]))
    assert open_texts(str(path), StateDir(tmp_path)).version != before
