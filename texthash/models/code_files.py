"""Output of a bulk encoding: Parquet files in a folder, or one ``.parquet`` or ``.npy`` file, and their record.

Columns of Parquet are ``id``, ``code`` (fixed-size binary), ``known_words`` and optionally ``activations`` (float32
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
from texthash.io.atomic import read_parquet
from texthash.io.records import read_typed
from texthash.methods.base import Role

FILE_SUFFIXES = (".parquet", ".npy")
RECORD = "_codes.json"  # readers of Parquet folders skip names that begin with an underscore
FORMAT_VERSION = 1
ROWS = 4096


@dataclass(frozen=True)
class Record:
    """Record of the texts and the model of an encoding.

    Attributes:
        model: Digest of the saved model.
        method: Registry name of the method.
        bits: Width of the codes.
        corpus: Corpus and edition on which the model was fitted.
        source: Name of the texts.
        version: Version of the texts.
        role: Role as which the texts were encoded.
        activations: Whether the output has the real-valued codes.
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
    """Record of a finished output, with its number of documents, and of those without a known word."""

    record: dict[str, Any]
    documents: int
    unknown: int


@dataclass(frozen=True)
class Summary:
    """Numbers of documents of an output: all, those without a known word, and those encoded by this run."""

    output: str
    documents: int
    unknown: int
    encoded: int
    bits: int
    model: str


def schema(bits: int, activations: bool) -> pa.Schema:
    """Return the schema of the Parquet files."""
    fields = [("id", pa.string()), ("code", pa.binary(bits // 8)), ("known_words", pa.bool_())]
    if activations:
        fields.append(("activations", pa.list_(pa.float32(), bits)))
    return pa.schema(fields)


def check_form(output: Path, activations: bool) -> None:
    """Raise :class:`UsageError` if the suffix of the output is not supported, or its format has no activations."""
    if output.suffix and output.suffix not in FILE_SUFFIXES:
        raise UsageError(
            f"{output} ends in {output.suffix!r}, which is not a supported format.",
            f"name a folder, or a file that ends in {' or '.join(FILE_SUFFIXES)}.",
        )
    if activations and output.suffix == ".npy":
        raise UsageError(f"{output} can only hold codes.", "name a folder or a .parquet file for activations.")


def record_of(output: Path) -> Path:
    """Return the path of the record: inside a folder, or beside a file."""
    return output.with_name(f"{output.name}.json") if output.suffix else output / RECORD


def finished(output: Path, record: Record) -> Summary:
    """Return the summary of a finished output, after checking that it is of the same texts and model."""
    place = record_of(output)
    if not place.exists():
        raise UsageError(
            f"{output} exists and was not written by `texthash encode`, or not to its end.",
            "choose another --output, or delete it.",
        )
    facts = read_typed(Facts, place, f"choose another --output, or delete {output} and {place}.")
    check_same(facts.record, record, str(output), str(output))
    if not output.exists():
        raise TexthashError(f"{place} exists, but {output} does not.", f"delete {place}.")
    return Summary(str(output), facts.documents, facts.unknown, 0, record.bits, record.model)


def check_same(then: dict[str, Any], now: Record, what: str, place: str) -> None:
    """Raise an error unless a record on disk is of the same texts and model.

    Args:
        then: Members of the record on disk.
        now: Record of this run.
        what: Name of the output, for the error.
        place: Path to delete, for the remedy.
    """
    remedy = f"choose another --output, or delete {place}."
    if then.get("model") != now.model:
        named = [
            f"{str(made['model'])[:12]!r} ({made['method']}, {made['bits']} bits, fitted on {made['corpus']})"
            for made in ({**dict.fromkeys(asdict(now)), **then}, asdict(now))
        ]
        raise ModelMismatchError(f"{what} is of the model {named[0]}, not of {named[1]}.", remedy)
    wanted = asdict(now).items()
    if other := [f"{key} {then.get(key)!r} then, {value!r} now" for key, value in wanted if then.get(key) != value]:
        raise UsageError(f"{what} was made with other settings: {'; '.join(other)}.", remedy)


def join(parts: Sequence[Path], output: Path, suffix: str, record: Record, documents: int) -> None:
    """Join all chunks, in order, into one file of the format of a suffix."""
    if suffix == ".npy":
        with output.open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (documents, record.bits // 8)}
            np.lib.format.write_array_header_1_0(file, header)
            for path in parts:
                for batch in read_parquet(path, ["code"], ROWS):
                    file.write(b"".join(batch["code"].to_pylist()))
        return
    form = schema(record.bits, record.activations)
    with pq.ParquetWriter(output, form) as writer:
        for path in parts:
            for batch in read_parquet(path, form.names, ROWS):
                writer.write_batch(batch)
