"""``tmc``: the SIAM SDM 2007 text mining competition, 21,519 training and 7,077 test reports of aviation safety.

A report has one or several of 22 kinds of problem, ``class01`` to ``class22``. It is searched, in this order, as

* the files of the competition: ``TrainingData.txt`` and ``TestData.txt``, one report per line, ``number~text``;
  ``TrainCategoryMatrix.csv`` and ``TestTruth.csv``, for each report a line of 22 cells, 1 where it has the problem;
* Mulan's ARFF, ``tmc2007*.arff``: the words of a report, without order or counts; joined by spaces they are its text.
  ``-500`` has 500 selected words. A file of neither train nor test gives documents without a split;
* canonical rows: the first ``tmc*.jsonl.gz`` by name. A single file is the whole corpus: other files beside it, such as
  the test part in another form, are not added.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from texthash.config import CorpusConfig
from texthash.corpora.corpus_record import CorpusRecord
from texthash.corpora.document import Document
from texthash.corpora.find_files import find_files, missing
from texthash.corpora.readers import rows, tables, text_files
from texthash.corpora.readers.counts import checked
from texthash.errors import CorpusError
from texthash.paths import StateDir

COMPETITION = ("TrainingData.txt", "TrainCategoryMatrix.csv", "TestData.txt", "TestTruth.csv")
ARFF = [
    ("tmc2007-train.arff", "tmc2007-test.arff"),
    ("tmc2007.arff",),
    ("tmc2007-500-train.arff", "tmc2007-500-test.arff"),
    ("tmc2007-500.arff",),
]
COUNTS = {"train": 21_519, "test": 7_077}
CLASSES = tuple(f"class{number:02}" for number in range(1, 23))
WORDS_ONLY = "only which words occur, not their order or number"
record = CorpusRecord(
    name="tmc",
    title="SIAM SDM 2007 text mining competition (TMC2007)",
    documents=28_596,
    labels=22,
    multi_label=True,
    licence="none stated; published by NASA (reports of the Aviation Safety Reporting System)",
    source="https://c3.nasa.gov/dashlink/resources/138/",
    citation="Srivastava and Zane-Ulman, Discovering Recurring Anomalies in Text Reports Regarding Complex Space "
    "Systems, IEEE Aerospace Conference 2005",
    survey="28,596 documents, 22 labels, multi-label",
    splits=COUNTS,
    how_to_get=f"{', '.join(COMPETITION)} are on NASA's DASHlink, https://c3.nasa.gov/dashlink/resources/138/ "
    "(catalogue: https://catalog.data.gov/dataset/siam-2007-text-mining-competition-dataset).",
)
_ATTRIBUTE = re.compile(r"""@attribute\s+(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|(\S+))\s+\S""", re.IGNORECASE)
_AGAIN = "fetch the file again."


def files(config: CorpusConfig, home: StateDir) -> list[Path]:
    """Return the files of the first available form; empty if there is none."""
    found = find_files("tmc", [COMPETITION, *ARFF], config, home)
    return found[:1] if found and found[0].name.endswith(".jsonl.gz") else found


def read(config: CorpusConfig, home: StateDir) -> Iterator[Document]:
    """Return all reports, train before test.

    Raises:
        CorpusError: The corpus is not available, incomplete, or malformed (names file and line).
    """
    found = files(config, home)
    if not found:
        raise missing(record, config, home)
    name = found[0].name.removesuffix(".gz")
    if name == COMPETITION[0]:
        return checked(_competition(found), "tmc", found, COUNTS)
    if name.endswith(".arff"):
        return checked(_arffs(found), "tmc", found, COUNTS, {"": sum(COUNTS.values())})
    return checked(rows.documents(found[0]), "tmc", found, COUNTS)


def _competition(found: list[Path]) -> Iterator[Document]:
    for split, texts, matrix in zip(COUNTS, found[::2], found[1::2], strict=True):
        reports = (numbered for numbered in text_files.lines(texts) if numbered[1].strip())
        for report, problems in zip_longest(reports, tables.cells(text_files.lines(matrix), str(matrix))):
            if report is None or problems is None:
                short, other = (texts, matrix) if report is None else (matrix, texts)
                line = (report or problems)[0]
                raise CorpusError(f"{short} ends before {other}, which continues in line {line}.", _AGAIN)
            origin = f"{texts}:{report[0]}"
            number, tilde, text = report[1].strip().partition("~")
            if not tilde or not number:
                raise CorpusError(f"{origin}: {report[1][:40]!r} is not number~text.", _AGAIN)
            labels = _problems(problems[1], f"{matrix}:{problems[0]}")
            yield Document(f"{split}/{number}", text, labels, split, origin=origin)


def _problems(cells: list[str], origin: str) -> tuple[str, ...]:
    values = [cell.strip() for cell in cells]
    if len(values) != len(CLASSES) or not {"1", "-1", "0"}.issuperset(values):
        raise CorpusError(f"{origin}: not {len(CLASSES)} cells of 1 or -1, but {','.join(cells)[:60]!r}.", _AGAIN)
    return tuple(name for name, value in zip(CLASSES, values, strict=True) if value == "1")


def _arffs(found: list[Path]) -> Iterator[Document]:
    for split, path in zip(COUNTS if len(found) == len(COUNTS) else ("",), found, strict=True):
        for number, (line, present) in enumerate(_arff(path)):
            labels = tuple(name for name in present if name in CLASSES)
            text = " ".join(name for name in present if name not in CLASSES)
            id_ = f"{split}/{number}" if split else str(number)
            yield Document(id_, text, labels, split, origin=f"{path}:{line}", remark=WORDS_ONLY)


def _arff(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line and non-zero attributes of each row, sparse (``{3 1,507 1}``) or dense (``0,0,0,1,...``)."""
    names: list[str] = []
    in_data = False
    for number, line in text_files.lines(path):
        stripped = line.strip()
        keyword = stripped.partition(" ")[0].lower()
        if not stripped or stripped.startswith("%"):
            continue
        if in_data:
            yield number, [names[index] for index in _present(stripped, len(names), f"{path}:{number}")]
        elif attribute := _ATTRIBUTE.match(stripped):
            names.append(next(filter(None, attribute.groups()), ""))
        elif keyword == "@data":
            in_data = True
            if set(CLASSES) - set(names):
                raise CorpusError(f"{path}:{number}: no attributes {CLASSES[0]} to {CLASSES[-1]}.", _AGAIN)
        elif keyword != "@relation":
            raise CorpusError(f"{path}:{number}: {stripped[:40]!r} is not ARFF.", _AGAIN)


def _present(row: str, attributes: int, origin: str) -> list[int]:
    """Return the indices of the attributes that are not 0, in order."""
    try:
        if row.startswith("{"):
            if not row.endswith("}"):
                raise ValueError("the row has no end")
            pairs = [cell.split() for cell in row[1:-1].split(",") if cell.strip()]
            values = {int(index): float(value) for index, value in pairs}
            if values and not 0 <= min(values) <= max(values) < attributes:
                raise ValueError(f"attribute {max(values)} of {attributes}")
        else:
            values = dict(enumerate(map(float, row.split(","))))
            if len(values) != attributes:
                raise ValueError(f"{len(values)} values for {attributes} attributes")
    except ValueError as error:
        raise CorpusError(f"{origin}: not a row of numbers: {error}.", _AGAIN) from error
    return sorted(index for index, value in values.items() if value)
