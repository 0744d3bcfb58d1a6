"""The SIAM text mining competition from each of its forms, and what is wrong with damaged files."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from texthash.config import CorpusConfig
from texthash.corpora.catalog import open_source, records
from texthash.corpora.document import Document
from texthash.corpora.readers import tmc
from texthash.errors import CorpusError
from texthash.paths import StateDir

NAMES = ("TrainingData.txt", "TrainCategoryMatrix.csv", "TestData.txt", "TestTruth.csv")


def read(folder: Path) -> list[Document]:
    return list(open_source(CorpusConfig(name="tmc", data_dir=str(folder)), StateDir(folder / "home")).documents())


def essence(documents: list[Document]) -> list[tuple[str, frozenset[str], tuple[str, ...]]]:
    return [(d.split, frozenset(d.text.split()), d.labels) for d in documents]


@pytest.fixture(scope="module")
def documents(corpora_at_hand: Path) -> list[Document]:
    return read(corpora_at_hand)


def test_counts_are_the_canonical_ones(documents: list[Document]) -> None:
    record = records()["tmc"]
    assert Counter(d.split for d in documents) == record.splits == {"train": 21_519, "test": 7_077}
    assert len(documents) == record.documents
    assert {label for d in documents for label in d.labels} == set(tmc.CLASSES)
    assert record.labels == len(tmc.CLASSES)
    assert max(len(d.labels) for d in documents) > 1


def test_the_test_part_beside_the_corpus_is_not_mixed_in(corpora_at_hand: Path, tmp_path: Path) -> None:
    test_part = corpora_at_hand / "tmc2007_test_rawtext.jsonl.gz"
    assert test_part.is_file()
    found = tmc.files(CorpusConfig(name="tmc", data_dir=str(corpora_at_hand)), StateDir(tmp_path))
    assert [path.name for path in found] == ["tmc2007_500_bow.jsonl.gz"]
    (tmp_path / test_part.name).symlink_to(test_part)
    with pytest.raises(CorpusError, match=r"rawtext\.jsonl\.gz has 7077 test documents, not 21519 train, 7077 test"):
        read(tmp_path)


def competition(documents: list[Document]) -> dict[str, str]:
    """The four files as they are published."""
    contents = []
    for split in ("train", "test"):
        part = [d for d in documents if d.split == split]
        contents.append("".join(f"{number}~{d.text}  ..\r\n" for number, d in enumerate(part, start=1)))
        cells = [["1" if name in d.labels else "-1" for name in tmc.CLASSES] for d in part]
        contents.append("".join(",".join(row) + "\n" for row in cells))
    return dict(zip(NAMES, contents, strict=True))


def put(folder: Path, contents: dict[str, str]) -> Path:
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8", newline="")
    return folder


def test_the_files_of_the_competition(documents: list[Document], tmp_path: Path) -> None:
    (tmp_path / "tmc").mkdir()
    put(tmp_path / "tmc", competition(documents))
    again = read(tmp_path)
    assert [(d.split, d.text.removesuffix("  .."), d.labels) for d in again] == [
        (d.split, d.text.strip(), d.labels) for d in documents
    ]
    assert (again[0].id, again[-1].id) == ("train/1", "test/7077")
    assert again[21_519].origin.endswith("TestData.txt:1")


def header(words: list[str]) -> str:
    attributes = [f"@attribute {word} {{0,1}}" for word in [*words, *tmc.CLASSES]]
    return "% from the competition\n@relation tmc2007\n\n" + "\n".join(attributes) + "\n\n@data\n"


def sparse(document: Document, places: dict[str, int]) -> str:
    present = sorted(places[name] for name in (*document.text.split(), *document.labels))
    return "{" + ",".join(f"{place} 1" for place in present) + "}\n"


def test_sparse_arff_with_and_without_split(documents: list[Document], tmp_path: Path) -> None:
    words = sorted({word for d in documents for word in d.text.split()})
    places = {name: place for place, name in enumerate([*words, *tmc.CLASSES])}
    top = header(words)
    rows = {d.id: sparse(d, places) for d in documents}
    whole = top + "".join(rows.values())
    (tmp_path / "tmc2007-500.arff.gz").write_bytes(gzip.compress(whole.encode(), 1))
    unsplit = read(tmp_path)
    assert {d.split for d in unsplit} == {""}
    assert {d.remark for d in unsplit} == {tmc.WORDS_ONLY}
    assert essence(unsplit) == [("", words, labels) for _, words, labels in essence(documents)]
    for split in ("train", "test"):
        part = "".join(row for id_, row in rows.items() if id_.startswith(split))
        (tmp_path / f"tmc2007-500-{split}.arff").write_text(top + part)
    assert essence(read(tmp_path)) == essence(documents)


def arff(folder: Path, content: str) -> list[Document]:
    """What is read of a small file before its number of reports is found wrong."""
    put(folder, {"tmc2007.arff": content})
    documents: list[Document] = []

    def all_read() -> None:
        documents.extend(tmc.read(CorpusConfig(name="tmc", data_dir=str(folder)), StateDir(folder)))

    with pytest.raises(CorpusError, match=r"tmc2007\.arff has \d+ documents, not 21519 train, 7077 test or 28596"):
        all_read()
    return documents


def test_dense_rows_quoted_names_and_labels_in_front(tmp_path: Path) -> None:
    classes = "".join(f"@ATTRIBUTE {name} {{0,1}}\n" for name in tmc.CLASSES)
    top = (
        "@RELATION 'tmc2007: -C 22'\n" + classes + "@attribute 'o clock' numeric\n@attribute \"it's\" numeric\n@DATA\n"
    )
    dense = ",".join(["0", "1"] + ["0"] * 20 + ["1", "2"]) + "\n"
    documents = arff(tmp_path, top + dense + "{0 1,23 1.0,22 0}\n{}\n")
    assert [(d.text, d.labels) for d in documents] == [
        ("o clock it's", ("class02",)),
        ("it's", ("class01",)),
        ("", ()),
    ]


TOP = header(["gear", "runway"])
LINE = TOP.count("\n") + 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TOP + "{0 1}\n{0 1,30 1}\n", rf"tmc2007\.arff:{LINE + 1}: not a row of numbers: attribute 30 of 24"),
        (TOP + "{0 1,2", rf"tmc2007\.arff:{LINE}: not a row of numbers: the row has no end"),
        (TOP + "{0 yes}\n", rf"tmc2007\.arff:{LINE}: not a row of numbers"),
        (TOP + "0,1\n", rf"tmc2007\.arff:{LINE}: not a row of numbers: 2 values for 24 attributes"),
        (TOP.replace("class22", "class99"), rf"tmc2007\.arff:{LINE - 1}: no attributes class01 to class22"),
        ("<html>", r"tmc2007\.arff:1: '<html>' is not ARFF"),
        (TOP, r"tmc2007\.arff has no documents, not 21519 train"),
    ],
)
def test_broken_arff_names_file_and_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        read(put(tmp_path, {"tmc2007.arff": content}))


ROW = ",".join(["1"] + ["-1"] * 21) + "\n"
SMALL = dict(zip(NAMES, ("1~GEAR UP  ..\n2~GEAR DOWN\n", ROW * 2, "1~RUNWAY\n", ROW), strict=True))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("TestTruth.csv", ROW, r"has 2 train, 1 test documents, not 21519 train"),
        ("TrainingData.txt", "1~GEAR\nno number\n", r"TrainingData\.txt:2: 'no number\\n' is not number~text"),
        ("TrainingData.txt", "1~GEAR\n", r"TrainingData\.txt ends before .*TrainCategoryMatrix\.csv, .* in line 2"),
        ("TestTruth.csv", "", r"TestTruth\.csv ends before .*TestData\.txt, which continues in line 1"),
        ("TrainCategoryMatrix.csv", ROW + "1,-1\n", r"TrainCategoryMatrix\.csv:2: not 22 cells of 1 or -1, but '1,-1'"),
        ("TestTruth.csv", ROW.replace("-1", "2"), r"TestTruth\.csv:1: not 22 cells of 1 or -1, but '1,2,2"),
        ("TestTruth.csv", '"1', r"TestTruth\.csv:1: not CSV"),
    ],
)
def test_broken_files_of_the_competition(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        read(put(tmp_path, {**SMALL, name: content}))


def test_other_encodings_and_cut_off_files_are_named(tmp_path: Path) -> None:
    put(tmp_path, SMALL)
    (tmp_path / "TestData.txt").write_bytes(b"1~caf\xe9\n")
    with pytest.raises(CorpusError, match=r"TestData\.txt:1: not utf-8 text"):
        read(tmp_path)
    (tmp_path / "TestData.txt").unlink()
    (tmp_path / "TestData.txt.gz").write_bytes(gzip.compress(b"1~RUNWAY\n")[:-12])
    with pytest.raises(CorpusError, match=r"TestData\.txt\.gz:1: the gzip file is damaged or cut off"):
        read(tmp_path)


def test_a_corpus_that_is_not_at_hand_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"(?s)tmc is not available.*TrainingData\.txt.*dashlink/resources/138"):
        read(tmp_path)
