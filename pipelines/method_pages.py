"""Documentation pages of the methods: equations, hyper-parameters, metrics, deviations, citation."""

from __future__ import annotations

import inspect
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tables import Rows, read_rows

from texthash.methods.base import Card, HashMethod
from texthash.methods.found_settings import found_settings
from texthash.methods.registry import describe, methods

_FIGURES = (
    "corpus",
    "edition",
    "bits",
    "seed",
    "settings",
    "p_at_100",
    "p_at_100_worst",
    "p_at_100_best",
    "map",
    "epochs",
)


def write_pages(folder: Path, results: Path) -> None:
    """Write ``NAME.md`` for every method.

    Args:
        folder: Directory of the pages.
        results: CSV file with the metrics on test.
    """
    figures: dict[str, Rows] = defaultdict(list)
    for row in read_rows(results):
        if row["p_at_100"]:
            figures[row["method"]].append(row)
    for name, cls in methods().items():
        (folder / f"{name}.md").write_text(_page(name, cls, figures[name]), encoding="utf-8")


def _elsewhere(card: Card) -> str:
    """Return where the figures of a method without labelled documents are."""
    if card.supervision == "pairs":
        return "It learns from questions; see [Questions and their answers](../results-questions.md)."
    return "No complete run on a corpus yet."


def _page(name: str, cls: type[HashMethod], figures: Rows) -> str:
    card = cls.card
    baseline = "of this project" if card.fidelity == "own" else "a classical baseline"
    entry = f"entry {card.survey_entry} of the survey" if card.survey_entry else baseline
    lines = [
        f"# {name}",
        f"**{card.title}**, {card.venue}; {entry}. Tags: {', '.join(card.tags) or 'none'}. "
        f"Supervision: {card.supervision}. Fidelity: {card.fidelity}.",
        card.citation,
        "## Definition",
        f"```text\n{inspect.getdoc(sys.modules[cls.__module__]) or ''}\n```",
        "## Hyper-parameters",
        _table([{key: _cell(value) for key, value in row.items()} for row in describe(name)]) or "None.",
        f"Published values: {card.paper.source if card.paper else 'none are known'}. "
        f"Tuned values: {found_settings().get(name, 'none')}.",
        "## Results on test",
        _table([{key: row[key] for key in _FIGURES} for row in figures]) or _elsewhere(card),
        "## Deviations",
        "".join(f"* {deviation}\n" for deviation in card.deviations) or "None known.",
        "## Usage",
        _usage(name, card.supervision),
    ]
    return "\n\n".join(lines) + "\n"


def _usage(name: str, supervision: str) -> str:
    more = {"none": "", "labels": ", labels=labels", "pairs": ", queries=queries"}[supervision]
    return f"```python\nmodel = texthash.train({name!r}, texts, bits=32{more})\n```"


def _cell(value: Any) -> str:
    return "" if value is None else str(value).replace("|", "\\|")


def _table(rows: Rows) -> str:
    if not rows:
        return ""
    header: Iterable[str] = list(rows[0])
    lines = [header, ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
