"""An index as arrays and facts, which a file can hold, and the index of such arrays, which may be mapped memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texthash.hamming.multi_index import Costs, Tables
from texthash.index.memory.cost_model import CostModel
from texthash.index.memory.multi_index import MultiIndex
from texthash.index.memory.segments import Segment

Arrays = dict[str, NDArray[Any]]
_TABLES = ("starts", "widths", "bases", "offsets", "rows", "fragments")
_MODEL = ("neighbours", "work")
_FIGURES = ("rows", "words", "scan", "scan_query", "call", "query")


def arrays_of(index: MultiIndex) -> tuple[dict[str, Any], Arrays]:
    """Return facts, for JSON, and arrays of an index that was never changed, without its document numbers."""
    base, tables, model = index.parts
    arrays: Arrays = {"order": index.order, "words": base.words}
    facts: dict[str, Any] = {}
    if tables is not None:
        arrays |= {f"tables.{name}": getattr(tables, name) for name in _TABLES}
    if model is not None:
        arrays |= {f"model.{name}": getattr(model, name) for name in _MODEL}
        facts = {name: getattr(model, name) for name in _FIGURES} | {"costs": asdict(model.costs)}
    return facts, arrays


def index_of(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], numbers: NDArray[np.int64]) -> MultiIndex:
    """Return the index of the result of :func:`arrays_of`, and of its document numbers, int64 [N], ascending."""
    words = arrays["words"]
    tables = model = None
    if "tables.rows" in arrays:
        tables = Tables(words, *(arrays[f"tables.{name}"] for name in _TABLES))
    if facts:
        figures = {name: facts[name] for name in _FIGURES} | {name: arrays[f"model.{name}"] for name in _MODEL}
        model = CostModel(**figures, costs=Costs(**facts["costs"]))
    return MultiIndex.of_parts(arrays["order"], Segment(words, numbers), tables, model)
