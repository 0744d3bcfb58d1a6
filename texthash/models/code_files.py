"""What a bulk encoding leaves: Parquet parts in a folder, or one ``.parquet`` or ``.npy`` file, and a record of it.

Columns of Parquet are ``id``, ``code`` (fixed-size binary), ``known_words`` and, if asked for, ``activations`` (float32
[bits]); the first two are those of :mod:`texthash.hamming.interop`, which reads these files. The record is
``_codes.json`` in a folder, ``<file>.json`` beside a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from texthash.errors import ModelMismatchError, TexthashError, UsageError
from texthash.io.atomic import read_parquet, whole
from texthash.io.records import read_typed
from texthash.methods.base import Role

FILE_SUFFIXES = (".parquet", ".npy")
RECORD = "_codes.json"  # a name that readers of Parquet folders leave out
FORMAT_VERSION = 1
ROWS = 4096


@dataclass(frozen=True)
class Record:
    """What was encoded, and by what.

    Attributes:
        model: Digest of the saved model.
        method: Registry name of the method.
        bits: Width of the codes.
        corpus: On which the model was fitted, with its edition.
        source: Name of the texts.
        version: Of the texts.
        role: Which side they were encoded as.
        activations: Whether the values before the cut are there.
        format: Version of this record.
    """

    model: str
    method: str
    bits: int
    corpus: str
    source: str
    version: str
    role: Role
    activations: bool
    format: int = FORMAT_VERSION


@dataclass(frozen=True)
class Facts:
    """Record of a finished output: what was encoded, the number of documents, and of those without a known word."""

    record: dict[str, Any]
    documents: int
    unknown: int


@dataclass(frozen=True)
class Summary:
    """What an output holds: documents in all, those of which the model knows no word, and those encoded by this run."""

    output: str
    documents: int
    unknown: int
    encoded: int
    bits: int
    model: str


def schema(bits: int, activations: bool) -> pa.Schema:
    fields = [("id", pa.string()), ("code", pa.binary(bits // 8)), ("known_words", pa.bool_())]
    if activations:
        fields.append(("activations", pa.list_(pa.float32(), bits)))
    return pa.schema(fields)


def check_form(output: Path, activations: bool) -> None:
    if output.suffix and output.suffix not in FILE_SUFFIXES:
        raise UsageError(
            f"{output} ends in {output.suffix!r}, a form that is not written.",
            f"name a folder, or a file that ends in {' or '.join(FILE_SUFFIXES)}.",
        )
    if activations and output.suffix == ".npy":
        raise UsageError(f"{output} holds codes alone.", "name a folder or a .parquet file for activations.")


def record_of(output: Path) -> Path:
    """Of a folder in it, of a file beside it."""
    return output.with_name(f"{output.name}.json") if output.suffix else output / RECORD


def finished(output: Path, record: Record) -> Summary:
    place = record_of(output)
    if not place.exists():
        raise UsageError(
            f"{output} exists and was not written by `texthash encode`, or not to its end.",
            "choose another --output, or delete it.",
        )
    facts = read_typed(Facts, place, f"choose another --output, or delete {output} and {place}.")
    check_same(facts.record, record, str(output), str(output))
    if not output.exists():
        raise TexthashError(f"{place} is there, but {output} is not.", f"delete {place}.")
    return Summary(str(output), facts.documents, facts.unknown, 0, record.bits, record.model)


def check_same(then: dict[str, Any], now: Record, what: str, place: str) -> None:
    remedy = f"choose another --output, or delete {place}."
    if then.get("model") != now.model:
        named = [
            f"{str(made['model'])[:12]!r} ({made['method']}, {made['bits']} bits, fitted on {made['corpus']})"
            for made in ({**dict.fromkeys(asdict(now)), **then}, asdict(now))
        ]
        raise ModelMismatchError(f"{what} is of the model {named[0]}, not of {named[1]}.", remedy)
    wanted = asdict(now).items()
    if other := [f"{key} {then.get(key)!r} then, {value!r} now" for key, value in wanted if then.get(key) != value]:
        raise UsageError(f"{what} was made otherwise: {'; '.join(other)}.", remedy)


def join(parts: Sequence[Path], output: Path, record: Record, documents: int) -> None:
    """One file of all chunks, in order."""
    with whole(output) as partial:
        if output.suffix == ".npy":
            with partial.open("wb") as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": (documents, record.bits // 8)}
                np.lib.format.write_array_header_1_0(file, header)
                for path in parts:
                    for batch in read_parquet(path, ["code"], ROWS):
                        file.write(b"".join(batch["code"].to_pylist()))
            return
        form = schema(record.bits, record.activations)
        with pq.ParquetWriter(partial, form) as writer:
            for path in parts:
                for batch in read_parquet(path, form.names, ROWS):
                    writer.write_batch(batch)
