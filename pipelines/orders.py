"""Check that the results on validation agree with the established orders of methods.

    python pipelines/orders.py                       # of configs/reproductions/methods.yaml and results.csv
    python pipelines/orders.py other.yaml other.csv

An order names methods, or groups of them by supervision (``none``, ``labels``), that have to be above others on a
corpus, at a width, and the margin; scores are means over seeds. ``except`` excludes methods that are known to be below,
for reasons given in their modules. Methods without a score are skipped and listed; an order without a pair to compare
is open. Exit status 1 if an order is broken.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from common import bare_parser, finish

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
    orders = yaml.safe_load(arguments.table.read_text(encoding="utf-8"))["orders"]
    broken = 0
    for order in orders:
        figures = _figures(arguments.results, order)
        lines, missing = list(_broken(order, figures)), _missing(order, figures)
        compared = all(any(name in figures for name in _members(order, side)) for side in ("above", "below"))
        verdict = "broken" if lines else "holds" if compared else "open"
        remark = f" (no score: {', '.join(missing)})" if missing else ""
        print(f"{verdict:6} {_words(order)}{remark}")
        for line in lines:
            print("       ", line)
        broken += bool(lines)
    if broken:
        raise TexthashError(
            f"{broken} of {len(orders)} orders are broken.", "search the settings of the methods named, on validation."
        )


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
    """Return the mean validation score over seeds of each method that has one."""
    of_method: dict[str, list[float]] = defaultdict(list)
    with results.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            setting = row["corpus"], row["edition"], row["bits"]
            if row.get(COLUMN) and setting == (order["corpus"], order["edition"], str(order["bits"])):
                of_method[row["method"]].append(float(row[COLUMN]))
    return {method: statistics.mean(values) for method, values in of_method.items()}


def _words(order: Mapping[str, Any]) -> str:
    groups = {"none": "all that learn from no labels", "labels": "all that learn from labels"}
    above, below = (", ".join(groups.get(name, name) for name in order[side]) for side in ("above", "below"))
    by = f" {order['by']:+g}" if order.get("by") else ""
    but = f", except {', '.join(order['except'])}" if order.get("except") else ""
    return f"{order['corpus']} {order['edition']}, {order['bits']} bits: {above}{but} > {below}{by}"


if __name__ == "__main__":
    raise SystemExit(main())
