"""Files and cells of the tables of figures: rows of CSV files, Markdown, means over seeds."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Row = dict[str, str]
Rows = list[Row]


def rows_so_far(path: Path) -> Rows:
    """Return the rows of a CSV file that grows; none if there is no file yet."""
    return read_rows(path) if path.exists() else []


def read_rows(path: Path) -> Rows:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write a CSV file; it is replaced atomically, and a value that a row lacks is empty."""
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)


def read_tuned(folder: Path) -> dict[str, Any]:
    """Return the records of tuned.yaml, by ``corpus/edition/method/bits``; empty without the file."""
    path = folder / "tuned.yaml"
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown, a line each."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def mean(rows: Iterable[Row], name: str, digits: int = 3) -> str:
    """Return the mean of a column over the rows that have a value; empty if none has."""
    values = [float(row[name]) for row in rows if row[name]]
    return f"{statistics.mean(values):.{digits}f}" if values else ""


def spread(rows: Sequence[Row], name: str) -> str:
    """Return the mean of a column and, of several values, their standard deviation."""
    values = [float(row[name]) for row in rows if row[name]]
    return mean(rows, name) + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")
