"""Check that the results on validation agree with the established orders of methods.

    python pipelines/orders.py                       # of configs/reproductions/methods.yaml and results.csv
    python pipelines/orders.py other.yaml other.csv

An order names methods, or groups of them by supervision (``none``, ``labels``), that have to be above others on a
corpus, at a width, and the margin; scores are means over seeds, of tuned settings where a method has been tuned there.
``except`` excludes methods that are known to be below,
for reasons given in their modules. Methods without a score are skipped and listed; an order without a pair to compare
is open. Exit status 1 if an order is broken.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from common import bare_parser, finish
from tables import read_rows

from texthash.errors import TexthashError
from texthash.methods.registry import get_method, methods

FOLDER = Path(__file__).resolve().parent.parent / "configs" / "reproductions"
COLUMN = "val_p_at_100"
BASELINES = ("lsh", "pcah", "itq", "spectral_hashing", "sth")  # closed-form methods, which belong to no group


def main() -> int:
    options = bare_parser(__doc__)
    options.add_argument("table", type=Path, nargs="?", default=FOLDER / "methods.yaml")
    options.add_argument("results", type=Path, nargs="?", default=FOLDER / "results.csv")
    arguments = options.parse_args()
    return finish(lambda: _main(arguments), arguments.verbose)


def _main(arguments: argparse.Namespace) -> None:
    found = verdicts(arguments.table, arguments.results)
    for verdict in found:
        print(f"{verdict.verdict:6} {verdict.order}{verdict.remark}")
        for line in verdict.broken:
            print("       ", line)
    if broken := sum(bool(verdict.broken) for verdict in found):
        raise TexthashError(
            f"{broken} of {len(found)} orders are broken.", "search the settings of the methods named, on validation."
        )


@dataclass(frozen=True)
class Verdict:
    """Whether an order ``holds``, is ``broken`` or ``open``, with the pairs that break it and a remark."""

    verdict: str
    order: str
    remark: str
    broken: list[str]


def verdicts(table: Path, results: Path) -> list[Verdict]:
    """Return the verdict on each order of a table."""
    found = []
    for order in yaml.safe_load(table.read_text(encoding="utf-8"))["orders"]:
        figures = _figures(results, order)
        broken, missing = list(_broken(order, figures)), _missing(order, figures)
        compared = all(any(name in figures for name in _members(order, side)) for side in ("above", "below"))
        verdict = "broken" if broken else "holds" if compared else "open"
        remark = f" (no score: {', '.join(missing)})" if missing else ""
        found.append(Verdict(verdict, _words(order), remark, broken))
    return found


def _broken(order: Mapping[str, Any], figures: Mapping[str, float]) -> Iterator[str]:
    by = order.get("by", 0.0)
    for above in _members(order, "above"):
        for below in _members(order, "below"):
            if above in figures and below in figures and figures[above] <= figures[below] + by:
                yield f"{above} {figures[above]:.3f}, {below} {figures[below]:.3f}"


def _missing(order: Mapping[str, Any], figures: Mapping[str, float]) -> list[str]:
    return sorted({*_members(order, "above"), *_members(order, "below")} - set(figures))


def _members(order: Mapping[str, Any], side: str) -> list[str]:
    """Return the names of the methods on one side, with groups expanded."""
    found: list[str] = []
    for name in order[side]:
        if name in ("none", "labels"):
            found += [n for n, cls in methods().items() if cls.card.supervision == name and n not in BASELINES]
        else:
            found.append(get_method(name).card.name)
    return [name for name in found if name not in order.get("except", ())]


def _figures(results: Path, order: Mapping[str, Any]) -> dict[str, float]:
    """Return the mean validation score over seeds of each method that has one, of tuned settings if it has those."""
    of_method: dict[str, list[float]] = defaultdict(list)
    tuned: dict[str, list[float]] = defaultdict(list)
    for row in read_rows(results):
        setting = row["corpus"], row["edition"], row["bits"]
        if row.get(COLUMN) and setting == (order["corpus"], order["edition"], str(order["bits"])):
            of_settings = tuned if row.get("settings") == "tuned" else of_method
            of_settings[row["method"]].append(float(row[COLUMN]))
    return {method: statistics.mean(values) for method, values in {**of_method, **tuned}.items()}


def _words(order: Mapping[str, Any]) -> str:
    groups = {"none": "all that learn from no labels", "labels": "all that learn from labels"}
    above, below = (", ".join(groups.get(name, name) for name in order[side]) for side in ("above", "below"))
    by = f" {order['by']:+g}" if order.get("by") else ""
    but = f", except {', '.join(order['except'])}" if order.get("except") else ""
    return f"{order['corpus']} {order['edition']}, {order['bits']} bits: {above}{but} > {below}{by}"


if __name__ == "__main__":
    raise SystemExit(main())
