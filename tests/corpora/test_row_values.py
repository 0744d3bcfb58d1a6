"""What a value of a row means, the same in every format; and what is refused, with file, line and row."""

from __future__ import annotations

import csv
import gzip
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texthash.api.requests import MAX_ID
from texthash.config import CorpusConfig
from texthash.corpora.catalog import open_source
from texthash.corpora.document import Document
from texthash.corpora.readers import fields, rows
from texthash.corpora.readers.rows import Columns, Table
from texthash.errors import CorpusError, UsageError
from texthash.paths import StateDir


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path) -> list[Document]:
    return list(rows.documents(path))


def refusal(path: Path) -> str:
    with pytest.raises(CorpusError) as raised:
        read(path)
    return str(raised.value)


def as_cells(documents: list[dict[str, Any]], separator: str) -> str:
    written = io.StringIO(newline="")
    table = csv.writer(written, delimiter=separator)
    table.writerow(["id", "text", "title", "labels", "split"])
    for row in documents:
        table.writerow([row["id"], row["text"], row["title"], "|".join(map(str, row["labels"])), row["split"]])
    return written.getvalue()


# Control characters are left out: spreadsheets write none of them.
CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])
LABEL = (
    st.text(CHARACTERS, min_size=1)
    .map(str.strip)
    .filter(lambda name: name and "|" not in name and name[0] not in "[({")
)
ROW = st.fixed_dictionaries(
    {
        "id": st.one_of(st.text(CHARACTERS, min_size=1, max_size=20), st.integers(-(10**18), 10**18)),
        "text": st.text(st.one_of(CHARACTERS, st.sampled_from('\n"\t;,')), max_size=60),
        "title": st.one_of(st.none(), st.text(CHARACTERS, max_size=20)),
        "labels": st.lists(LABEL, max_size=3),
        "split": st.sampled_from([None, "train", "Training", "val", "valid", "dev", "validation", "TEST", "all"]),
    }
)


@given(st.lists(ROW, min_size=1, max_size=5))
def test_the_same_rows_in_every_format_are_the_same_documents(
    tmp_path_factory: pytest.TempPathFactory, documents: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    lines = "".join(json.dumps(row) + "\n" for row in documents)
    listed = json.dumps(documents, ensure_ascii=False, indent=1)
    files = [
        write(folder / "a.jsonl", lines),
        write(folder / "b.jsonl.gz", gzip.compress(lines.encode("utf-16"))),
        write(folder / "c.json", listed),
        write(folder / "d.json", ("\ufeff" + listed).encode()),
        write(folder / "e.csv", as_cells(documents, ",")),
        write(folder / "f.csv", ("\ufeff" + as_cells(documents, ";")).encode()),
        write(folder / "g.tsv", as_cells(documents, "\t").encode("utf-16")),
        folder / "h.parquet",
    ]
    typed = [row | {"id": str(row["id"])} for row in documents]
    texts = [(name, pa.string()) for name in ("id", "text", "title", "split")]
    schema = pa.schema([*texts, ("labels", pa.list_(pa.string()))])
    pq.write_table(pa.Table.from_pylist(typed, schema), files[-1])
    found = [[d._replace(origin="") for d in read(file)] for file in files]
    assert [d.text for d in found[0]] == [row["text"] for row in documents]
    assert [d.id for d in found[0]] == [str(row["id"]) for row in documents]
    assert all(documents == found[0] for documents in found[1:])


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (3, "3"),
        (2**60 + 1, "1152921504606846977"),
        (10**18, "1000000000000000000"),
        (3.0, "3"),
        (Decimal("18446744073709551615"), "18446744073709551615"),
        (np.int64(2**60 + 1), "1152921504606846977"),
        ("1.0", "1.0"),
    ],
)
def test_integers_keep_their_digits(value: Any, name: str) -> None:
    assert fields.name(value) == name


@pytest.mark.parametrize(
    "value",
    [True, np.bool_(False), 1.5, 1e18, float("inf"), b"a", {"a": 1}, ["a"], Decimal("1.5"), "\ud800"],
)
def test_what_is_ambiguous_is_no_name(value: Any) -> None:
    with pytest.raises(fields.FieldError):
        fields.name(value)


@pytest.mark.parametrize("value", [None, "", float("nan"), np.nan, pd.NA, pd.NaT, np.float32("nan"), Decimal("NaN")])
def test_what_is_missing_is_missing(value: Any) -> None:
    assert fields.is_missing(value)
    assert (fields.text(value), fields.single(value), fields.names(value), fields.split(value)) == ("", (), (), "")


def test_columns_of_pandas_with_gaps(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": [7, None, 9], "text": ["a", "b", None], "label": [1.0, float("nan"), 2.0]})
    table.to_parquet(tmp_path / "a.parquet")
    table["id"] = pd.array([2**60 + 1, None, 9], dtype="Int64")
    table.to_parquet(tmp_path / "b.parquet")
    found = [[(d.id, d.text, d.labels) for d in read(tmp_path / name)] for name in ("a.parquet", "b.parquet")]
    assert found[0] == [("7", "a", ("1",)), ("a.parquet:2", "b", ()), ("9", "", ("2",))]
    assert [id_ for id_, *_ in found[1]] == ["1152921504606846977", "b.parquet:2", "9"]


@pytest.mark.parametrize(
    ("row", "labels"),
    [
        ({"label": ["a", "b"]}, ("a", "b")),
        ({"labels": 3}, ("3",)),
        ({"label": 3}, ("3",)),
        ({"label": float("nan")}, ()),
        ({"labels": ["a", None, ""]}, ("a",)),
        ({"labels": None, "label": "a|b"}, ("a|b",)),
        ({"labels": "a | b"}, ("a", "b")),
        ({"labels": ["a", "b"], "label": "b"}, ("a", "b")),
        ({"labels": [], "label": "a"}, ("a",)),
        ({"labels": "[meta]"}, ("[meta]",)),
        ({"label": "(1995)"}, ("(1995)",)),
    ],
)
def test_labels_are_names(tmp_path: Path, row: dict[str, Any], labels: tuple[str, ...]) -> None:
    path = write(tmp_path / "a.jsonl", json.dumps({"text": "x", **row}) + "\n")
    assert read(path)[0].labels == labels


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"id": True}, "id is the boolean True"),
        ({"id": 1.5}, "id is the number 1.5"),
        ({"id": {"$oid": "1"}}, "id is an object"),
        ({"id": ["1"]}, "id is a list"),
        ({"id": "x" * (MAX_ID + 1)}, f"id has {MAX_ID + 1} characters, at most {MAX_ID}"),
        ({"id": "\udc00"}, "id holds half a character"),
        ({"text": "\ud83d"}, "text holds half a character"),
        ({"text": ["a"]}, "text is a list"),
        ({"title": True}, "title is the boolean"),
        ({"split": ["train"]}, r"split is a list \['train'\], not the name of a split"),
        ({"split": 1}, "split is the number 1"),
        ({"split": "tset"}, "split names no split: 'tset' is none of train, validation, test"),
        ({"labels": [["a"]]}, "labels is a list"),
        ({"labels": [{"a": 1}]}, "labels is an object"),
        ({"labels": [True]}, "labels is the boolean"),
        ({"labels": [1.5]}, "labels is the number"),
        ({"labels": {"a": 1}}, "labels is an object"),
        ({"label": False}, "label is the boolean"),
        ({"labels": "['a', 'b']"}, "labels is text that looks like a list"),
        ({"label": "[]"}, "label is text that looks like a list"),
        ({"labels": ["a"], "label": "b"}, "label and labels disagree"),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_a_wrong_value_is_named_by_file_and_line(tmp_path: Path, row: dict[str, Any], says: str, suffix: str) -> None:
    documents = [{"text": "good"}, {"text": "x", **row}]
    text = json.dumps(documents) if suffix == "json" else "".join(json.dumps(d) + "\n" for d in documents)
    path = write(tmp_path / f"a.{suffix}", text)
    with pytest.raises(CorpusError, match=rf"a\.{suffix}:2: {says}") as raised:
        read(path)
    assert f"The row: {json.dumps(documents[1])}"[:100] in raised.value.problem


def test_the_row_stands_in_its_own_format(tmp_path: Path) -> None:
    said = refusal(write(tmp_path / "a.csv", 'id,text,split\n1,"x, y",tset\n'))
    assert "a.csv:2: split names no split" in said
    assert 'The row: 1,"x, y",tset' in said
    assert "id,text,labels,split" in said
    assert "{" not in said
    said = refusal(write(tmp_path / "a.tsv", "id\ttext\tsplit\n1\tx\ttset\n"))
    assert "The row: 1\tx\ttset" in said
    said = refusal(write(tmp_path / "b.csv", 'id;text;split\n1;"x; y";tset\n'))
    assert "b.csv:2: split names no split" in said
    assert 'The row: 1;"x; y";tset' in said
    assert "id;text;labels;split / 1;...;a|b;train" in said
    pq.write_table(pa.table({"text": ["x"], "id": pa.array([b"a"])}), tmp_path / "a.parquet")
    assert "a list of strings" in refusal(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + b'"id","text"\r\n"1","x"\r\n',
        b"\xef\xbb\xbf" + b"id;text\n1;x\n",
        '"id","text"\n1,x\n'.encode("utf-16"),
        "\ufeffid\ttext\n1\tx\n".encode("utf-16-be"),
        "id,text\n1,x\n".encode("utf-32"),
        b" id , text \n1,x\n",
        b"\n\nid,text\n\n1,x\n",
    ],
)
def test_marks_separators_and_blanks_around_the_header(tmp_path: Path, content: bytes) -> None:
    assert [(d.id, d.text) for d in read(write(tmp_path / "a.csv", content))] == [("1", "x")]


def test_a_mark_is_no_text_in_lines_and_questions(tmp_path: Path) -> None:
    from texthash.corpora.text_sources import open_texts

    for encoding in ("utf-8-sig", "utf-16"):
        write(tmp_path / "a.txt", "one\ntwo\n".encode(encoding))
        found = [d.text for part in open_texts(str(tmp_path / "a.txt"), StateDir(tmp_path)).parts for d in part()]
        assert found == ["one", "two"]
        row = json.dumps([{"question": "q?", "positive_ctxs": [{"text": "a"}]}])
        write(tmp_path / "q.json", row.encode(encoding))
        config = CorpusConfig(name="q", path=str(tmp_path / "q.json"))
        assert [d.queries for d in open_source(config, StateDir(tmp_path)).documents()] == [("q?",)]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "", "a.csv:1: there is no header"),
        ("a.csv", "body\n", "a.csv:1: there is no column 'text', only body"),
        ("a.tsv", "id\tbody\tlabel\n", "a.tsv:1: there is no column 'text', only id, body, label"),
        ("a.jsonl", json.dumps({f"c{n}": 1 for n in range(5000)}), "c18, c19 and 4,980 more."),
        ("a.jsonl", json.dumps({"n" * 9000: 1}), f"only {'n' * 57}...."),
        ("a.jsonl", '{"text": "x"}{"text": "y"}', "a.jsonl:1: not JSON: Extra data"),
        ("a.jsonl", '{"text": ' + "[" * 100_000, "a.jsonl:1: not JSON: nested too deeply"),
        ("a.json", "", "a.json is empty"),
        ("a.json", "3", "a.json has neither a list of rows"),
        ("a.json", '[{"text": "x"}, 3]', "a.json:2: a int, not an object"),
        ("a.json", '[{"text": "x"}, {"text": "y"', "not JSON after row 1: Expecting ',' delimiter, or cut off"),
        ("a.json", '[{"text": "x"}', "not JSON after row 1: cut off"),
        ("a.json", '[{"text": "x"}]]', "not JSON after row 1: there is more after the end"),
        ("a.json", '[{"text": "x"} {}]', "not JSON after row 1: '{' where one of ',]'"),
        ("a.json", '[{"text": ' + "[" * 100_000, "not JSON after row 0: maximum recursion"),
        ("a.json", '[{"text": "x", "id": ' + "1" * 5000 + "}]", "not JSON after row 0"),
        ("a.json", '{\n"text": "x"}', "a.json has neither a list of rows nor one object a line"),
        ("a.jsonl", '{"id": 1, "text": "x", "id": 2}\n', "a.jsonl:1: not JSON: the name 'id' occurs twice"),
        ("a.jsonl", '{"text": "x", "labels": ' + "[" * 900 + "]" * 900 + "}\n", "a.jsonl:1: labels is a list"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 9000, mtime=0)[:-9], "the gzip file is damaged or cut off"),
        (
            "a.json.gz",
            gzip.compress(json.dumps([{"text": str(n)} for n in range(99_999)]).encode(), mtime=0)[:-9],
            "damaged",
        ),
    ],
)
def test_files_that_are_no_tables_are_named(tmp_path: Path, name: str, content: str | bytes, says: str) -> None:
    assert says in refusal(write(tmp_path / name, content))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").mkdir()
    assert "a.jsonl is a folder, not a file" in refusal(tmp_path / "a.jsonl")


def test_a_list_is_read_in_pieces(tmp_path: Path) -> None:
    texts = [str(number) * size for number, size in enumerate([10, 1_100_000, 3, 4_500_000, 1_048_570, 7])]
    path = write(tmp_path / "a.json", json.dumps([{"text": text} for text in texts]))
    assert [d.text for d in read(path)] == texts


def test_the_columns_of_the_text_are_chosen(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,title,body\n1,Stew,cook it\n2,,boil\n")
    config = CorpusConfig(name="mine", path=str(path), text=("title", "body"))
    found = list(open_source(config, StateDir(tmp_path)).documents())
    assert [(d.text, d.title) for d in found] == [("Stew\ncook it", "Stew"), ("boil", "")]
    assert CorpusConfig(text="body").text == ("body",)
    with pytest.raises(CorpusError, match=r"a\.csv:1: there is no column 'text'.*"):
        read(path)
    with pytest.raises(CorpusError, match=r"a\.csv:1: there is no column 'txt'.*"):
        list(rows.documents(Table(path, columns=Columns(("title", "txt")))))


def test_a_row_without_one_of_several_columns_of_the_text_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"title": null, "body": "boil"}\n{"body": "cook it"}\n')
    with pytest.raises(CorpusError, match=r"a\.jsonl:2: the row has no 'title', one of the columns") as raised:
        list(rows.documents(Table(path, columns=Columns(("title", "body")))))
    assert '"title": null' in raised.value.remedy


NAMED = {"id": "key", "labels": "topics", "title": "headline", "split": "part"}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_columns_of_other_names_are_named(tmp_path: Path, suffix: str) -> None:
    made = [
        {"key": 7, "id": "x", "text": "cook it", "topics": "a|b", "headline": "Stew", "part": "dev", "label": "c"},
        {"key": 8, "id": "x", "text": "boil", "topics": None, "headline": None, "part": None, "label": "c"},
    ]
    path, frame = tmp_path / f"a{suffix}", pd.DataFrame(made)
    if suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)

    def documents(**names: str) -> list[Document]:
        config = CorpusConfig.model_validate({"name": "mine", "path": str(path), "columns": names})
        return list(open_source(config, StateDir(tmp_path)).documents())

    found = [(d.id, d.title, d.labels, d.split) for d in documents(**NAMED)]
    assert found == [("7", "Stew", ("a", "b"), "validation"), ("8", "", (), "")]
    assert documents(id="key", labels="label")[0].labels == ("c",)
    with pytest.raises(CorpusError, match=r"there is no column 'kye', only .*headline") as raised:
        documents(id="kye")
    assert "corpus.columns.id" in raised.value.remedy
    if suffix != ".jsonl":
        with pytest.raises(CorpusError, match=r"there is no column 'heading', only .*headline"):
            documents(title="heading")


def test_named_columns_are_those_of_rows(tmp_path: Path) -> None:
    config = CorpusConfig.model_validate({"name": "pydoc", "columns": {"id": "key"}})
    with pytest.raises(UsageError, match=r"corpus\.columns\.id=key, but the corpus pydoc is no table of rows"):
        open_source(config, StateDir(tmp_path)).parts()
    assert "columns" not in CorpusConfig(name="mine").model_dump()
    chosen = CorpusConfig.model_validate({"name": "mine", "columns": NAMED})
    assert CorpusConfig.model_validate(chosen.model_dump(mode="json")) == chosen


def test_the_usual_text_leaves_no_trace_in_what_is_recorded() -> None:
    assert "text" not in CorpusConfig(name="mine").model_dump()
    chosen = CorpusConfig(name="mine", text=("title", "text"))
    assert CorpusConfig.model_validate(chosen.model_dump(mode="json")) == chosen
