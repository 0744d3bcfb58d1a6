"""Questions with passages, in the files in which others give them: each passage becomes one document."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.memory import check_peak
from texthash.config import CorpusConfig
from texthash.corpora.catalog import open_source
from texthash.corpora.document import Document
from texthash.corpora.readers import formats, own, pairing
from texthash.errors import CorpusError
from texthash.paths import StateDir


def read(path: Path, **settings: Any) -> dict[str, Document]:
    source = open_source(CorpusConfig(name="mine", path=str(path), **settings), StateDir(path.parent / "home"))
    return {document.id: document for document in source.documents()}


def passage(number: int, **more: object) -> dict[str, object]:
    return {"title": f"T{number}", "text": f"text {number}", "passage_id": str(number), "score": 1.5, **more}


def question(text: str, positive: list[int], hard: list[int] = (), other: list[int] = ()) -> dict[str, object]:
    lists = {"positive_ctxs": positive, "hard_negative_ctxs": hard, "negative_ctxs": other}
    return {"question": text, "answers": ["a"], **{name: [passage(n) for n in ns] for name, ns in lists.items()}}


TRAIN = [
    question("who?", [1, 2], hard=[3], other=[4]),
    question("where?", [1], hard=[5, 2]),
    question("nothing?", [], hard=[3]),
    question("asked early?", [7]),
]
DEV = [question("when?", [6, 7], hard=[1], other=[4])]


@pytest.fixture
def nq(tmp_path: Path) -> Path:
    folder = tmp_path / "nq"
    folder.mkdir()
    (folder / "nq-train.json").write_text(json.dumps(TRAIN))
    (folder / "nq-dev.json.gz").write_bytes(gzip.compress(json.dumps(DEV).encode()))
    return folder


def test_passages_are_merged_over_questions_and_files(nq: Path) -> None:
    found = read(nq)
    one = found["1"]
    assert (one.text, one.title, one.split) == ("text 1", "T1", "train")
    assert one.queries == ("who?", "where?")
    assert one.negatives == ("3", "4", "5", "2"), "those of all its questions, the hard ones of each first"
    assert found["2"].queries == ("who?",)
    assert found["2"].negatives == ("3", "4")
    assert set(found) == {*"1234567", next(id_ for id_ in found if id_.startswith("question"))}


def test_the_split_of_a_passage_is_that_of_its_questions(nq: Path) -> None:
    found = read(nq)
    assert [found[id_].split for id_ in "13567"] == ["train", "train", "train", "validation", "validation"]
    assert found["7"].queries == ("when?",), "of two splits the later one keeps its questions"
    assert found["7"].remark == pairing.SHARED
    assert not found["6"].remark
    assert (found["4"].split, found["4"].queries) == ("train", ()), "what answers nothing is there to be told from"


def test_unanswered_questions_are_counted(nq: Path) -> None:
    excluded = [document for document in read(nq).values() if document.excluded]
    assert [(document.text, document.excluded) for document in excluded] == [("nothing?", pairing.UNANSWERED)]


def test_jsonl_and_passages_without_a_number(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"question": q, "positive_ctxs": [{"text": "same", "title": "t"}, {"text": "same", "psg_id": n}]}
        for n, q in enumerate(["a?", "b?"])
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read(path)
    assert sorted((d.queries, d.split) for d in found.values()) == [(("a?",), ""), (("a?", "b?"), ""), (("b?",), "")]
    assert read(path, format="dpr") == found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[{"question": "a?", "positive_ctxs": []}, {"question": ', "not JSON after question 1"),
        (b'[{"question": "a?"}]', ":1: no question with positive_ctxs, only question"),
        (b'[{"question": "a?", "positive_ctxs": [{"title": "t"}]}]', ":1: positive_ctxs is not a list of passages"),
        (b"[1]", ":1: a int, not an object"),
        (b'{"question": "a?"}', "contains no list of questions"),
        (b"[]", "contains no list of questions"),
        (b'[{"question": "\xff"}]', ":1: not utf-8 text"),
    ],
)
def test_bad_json_is_named_by_file_and_question(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read(path, format="dpr")


@pytest.mark.parametrize("place", ["question", "passage", "id"])
def test_half_a_character_is_named_by_file_and_line(tmp_path: Path, place: str) -> None:
    path = tmp_path / "bad.jsonl"
    texts = {name: "\ud800" if name == place else "whole" for name in ("question", "passage", "id")}
    passages = [{"text": texts["passage"], **({"passage_id": texts["id"]} if place == "id" else {})}]
    path.write_text(json.dumps({"question": texts["question"], "positive_ctxs": passages}) + "\n")
    with pytest.raises(CorpusError, match=r"bad\.jsonl:1: a text holds half a character"):
        read(path)


def test_a_cut_off_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.json.gz"
    path.write_bytes(gzip.compress(json.dumps(TRAIN).encode())[:-20])
    with pytest.raises(CorpusError, match=r"bad\.json\.gz:.* damaged or cut off"):
        read(path)


@pytest.mark.alone  # threads that other tests have left allocate too
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    questions = 2000
    path = tmp_path / "large.json"
    with path.open("w") as file:
        for n in range(questions):
            item = question(f"question {n}?", [n], hard=[n + 1])
            item["positive_ctxs"][0]["text"] = f"{n} " * 2000
            file.write(("," if n else "[") + json.dumps(item))
        file.write("]")
    source = open_source(CorpusConfig(name="mine", path=str(path)), StateDir(tmp_path))
    found = []
    check_peak(lambda: found.append(sum(1 for _ in source.documents())), path.stat().st_size / 20)
    assert set(found) == {questions + 1}


WIKIQA = """QuestionID\tQuestion\tDocumentID\tDocumentTitle\tSentenceID\tSentence\tLabel
Q1\thow high?\tD1\tTower\tD1-0\tThe "tower" is old.\t0
Q1\thow high?\tD1\tTower\tD1-1\tIt is 300 m high.\t1
Q2\thow tall?\tD1\tTower\tD1-1\tIt is 300 m high.\t1
Q2\thow tall?\tD1\tTower\tD1-0\tThe "tower" is old.\t0
Q3\twhy?\tD2\tOther\tD2-0\tNobody knows.\t0
"""


def test_wikiqa(tmp_path: Path) -> None:
    (tmp_path / "WikiQA-train.tsv").write_text(WIKIQA)
    found = read(tmp_path / "WikiQA-train.tsv")
    high = found["D1-1"]
    assert (high.text, high.title, high.split) == ("It is 300 m high.", "Tower", "train")
    assert (high.queries, high.negatives) == (("how high?", "how tall?"), ("D1-0",))
    assert found["D1-0"].text == 'The "tower" is old.'
    assert [d.text for d in found.values() if d.excluded] == ["why?"]


@pytest.mark.parametrize("header", ["", "question\tanswer\tlabel\n"])
def test_three_columns(tmp_path: Path, header: str) -> None:
    folder = tmp_path / "trec"
    folder.mkdir()
    (folder / "trec-train.tsv").write_text(f"{header}a?\tyes\t1\na?\tno\t0\nb?\tno\t1\n")
    (folder / "trec-test.tsv").write_text("c?\tlate\t1\n\nc?\tno\t0\n")
    found = {document.text: document for document in read(folder).values()}
    assert found["yes"].queries == ("a?",)
    assert found["yes"].negatives == (found["no"].id,)
    assert found["no"].queries == ("b?",)
    assert found["late"].split == "test"


@pytest.mark.parametrize(
    ("row", "shown"), [("a?\tb", "2 columns, the last 'b'"), ("a?\tb\t2", "3 columns, the last '2'")]
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, row: str, shown: str) -> None:
    path = tmp_path / "bad.tsv"
    path.write_text(f"a?\tb\t1\n{row}\n")
    with pytest.raises(CorpusError, match=rf"bad\.tsv:2: {shown}"):
        read(path)


def test_the_format_is_seen_or_said(tmp_path: Path, nq: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a"}\n')
    assert formats.reader_of(CorpusConfig(path=str(rows))) is own
    (nq / "notes.txt").write_text("where this is from")
    assert formats.reader_of(CorpusConfig(path=str(nq))) is own, "a folder of several kinds is one of text"
    assert read(nq, format="dpr").keys() >= set("1234567")
    with pytest.raises(CorpusError, match=r"has no file \*\.tsv"):
        read(nq, format="answers")
    with pytest.raises(CorpusError, match="does not exist"):
        read(tmp_path / "absent", format="dpr")


def test_rows_may_carry_queries_and_negatives(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"id": 1, "text": "a", "queries": ["q | one?", "two?"], "negatives": [2]}\n{"id": 2, "text": "b"}\n'
    )
    table = tmp_path / "rows.csv"
    table.write_text("id,text,queries,negatives\n1,a,one?|two?,2\n2,b,,\n")
    assert [(d.queries, d.negatives) for d in read(path).values()] == [(("q | one?", "two?"), ("2",)), ((), ())]
    assert [(d.queries, d.negatives) for d in read(table).values()] == [(("one?", "two?"), ("2",)), ((), ())]
    path.write_text('{"text": "a", "queries": [["nested"]]}\n')
    with pytest.raises(CorpusError, match=r"rows\.jsonl:1: queries is a list"):
        read(path)
