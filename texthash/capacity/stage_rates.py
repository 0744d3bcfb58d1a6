"""Rates of the stages from text to a service: what a step takes, as a line in the size of the corpus.

``python pipelines/benchmark.py stages`` measures them on documents that it makes up, and writes a file of them. Those
in ``stage_rates.json`` are measured by it too, on the machine that the file names.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from annotated_types import Ge, Gt

from texthash.errors import UsageError
from texthash.io.atomic import write_text
from texthash.io.records import read_typed

DEFAULT = Path(__file__).with_name("stage_rates.json")
_COMMAND = "python pipelines/benchmark.py stages --output FILE"
_REMEDY = f"measure again with {_COMMAND}."

StepName = Literal[
    "read_part",
    "count_words",
    "write_shards",
    "prepare_alone",
    "train_once",
    "epoch",
    "validate",
    "encode",
    "write_keywords",
    "write_tables",
    "index_alone",
    "open_keywords",
    "open_tables",
]
SizeName = Literal["corpus", "arrays", "index_keywords", "index_tables"]
PeakName = Literal["prepare", "train", "encode", "write"]
HeldName = Literal["tables", "keywords"]
_Cost = Annotated[float, Ge(0)]


@dataclass(frozen=True)
class Line:
    """Cost as a line in the size of a corpus.

    Attributes:
        fixed: Cost of a corpus without documents.
        document: Cost of a document.
        word: Cost of a word.
        pair: Cost of a document and a query of validation, which each validation compares.
    """

    fixed: _Cost = 0
    document: _Cost = 0
    word: _Cost = 0
    pair: _Cost = 0

    def of(self, documents: float, mean_words: float, queries: float = 0) -> float:
        """Return the cost of a corpus."""
        return self.fixed + documents * (self.document + mean_words * self.word + queries * self.pair)


@dataclass(frozen=True)
class StepRates:
    """What one step takes in all processes together: seconds of a CPU, and bytes of files that are read and written."""

    cpu: Line
    read: Line
    written: Line


@dataclass(frozen=True)
class StageRates:
    """Measured rates of all stages.

    Attributes:
        machine: Name of the measured processor.
        measured: Time of the measurement, ISO 8601, UTC.
        documents: Documents of the largest corpus that was measured.
        method: Hashing method.
        bits: Width of a code.
        device: Device of the training.
        steps: Rates by step.
        sizes: Bytes on disk of a prepared corpus, its arrays for training, and an index.
        peaks: Anonymous memory of a process in bytes, at the largest corpus.
        held: Memory of an index that is searched, in bytes: codes with their tables, and with the words too.
    """

    machine: str
    measured: str
    documents: Annotated[int, Gt(0)]
    method: str
    bits: int
    device: Literal["cpu", "cuda"]
    steps: dict[StepName, StepRates]
    sizes: dict[SizeName, Line]
    peaks: dict[PeakName, _Cost]
    held: dict[HeldName, Line]


def read_rates(path: Path = DEFAULT) -> StageRates:
    """Read rates from a file that :func:`write_rates` wrote.

    Raises:
        UsageError: There is no such file, it is broken, or rates of a step are missing.
    """
    try:
        rates = read_typed(StageRates, path, _REMEDY, error=UsageError)
    except FileNotFoundError:
        raise UsageError(f"there is no file of rates {path}.", f"make it with {_COMMAND}.") from None
    for name, kind in (("steps", StepName), ("sizes", SizeName), ("peaks", PeakName), ("held", HeldName)):
        if missing := [key for key in get_args(kind) if key not in getattr(rates, name)]:
            raise UsageError(f"{path} has no {name} {', '.join(missing)}.", _REMEDY)
    return rates


def write_rates(rates: StageRates, path: Path) -> None:
    """Write rates to a file."""
    write_text(path, json.dumps(asdict(rates), indent=1) + "\n")
