"""Tables of the documentation on equal budgets, on the frozen method, and on the orders of methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from orders import verdicts
from tables import Row, Rows, mean, read_tuned, rows_so_far, spread, table

_UPPER = {"words": "cosine of the words", "vectors": "cosine of the vectors"}


def equal_budget(folder: Path) -> str:
    """Return the table of tuned settings, the best on test first; searches without a cell on test last."""
    results = rows_so_far(folder / "results.csv")
    rows = [row for row in results if row["settings"] == "tuned"]
    before = [row for row in results if row["settings"] != "tuned" and row["val_p_at_100"]]
    lines = []
    for key, record in read_tuned(folder).items():
        place = tuple(key.split("/"))
        cells, old = _of(rows, place), [row for row in _of(before, place) if row["seed"] == "0"]
        test = mean(cells, "p_at_100")
        line = (
            f"`{place[2]}`" + (" (vectors too)" if record.get("features") else ""),
            spread(cells, "p_at_100"),
            mean(cells, "map"),
            str(len(cells)),
            f"{record['validation']:.3f}",
            *(f"{record[name]:.3f}" if name in record else "" for name in ("sampled", "default", "hand")),
            _before(record["validation"], old),
            record["origin"],
            str(record["epochs"] or ""),
        )
        lines.append((test, line))
    lines.sort(key=lambda one: one[0], reverse=True)
    header = ("method", "P@100, test", "MAP", "seeds", "validation", "random trials", "defaults", "by hand")
    return table((*header, "before", "best trial", "epochs"), (line for _, line in lines))


def reused(folder: Path) -> str:
    """Return P@100 on test of the settings that the budget found, on other corpora and at other widths.

    A line is a method, a column a corpus at a width. A method with no cell on test but that of the search is left out.
    """
    results = rows_so_far(folder / "results.csv")
    searched = {tuple(key.split("/")) for key in read_tuned(folder)}
    rows = [row for row in results if row["settings"] == "tuned"]
    elsewhere = [row for row in rows if _cell(row) not in searched]
    methods = {row["method"] for row in elsewhere}
    homes = {(corpus, edition) for corpus, edition, _, _ in searched}
    places = list(dict.fromkeys(_at(row) for row in rows if row["method"] in methods))
    places.sort(key=lambda place: (place[:2] not in homes, place[0] if place[:2] not in homes else "", int(place[2])))
    lines = []
    for method in methods:
        cells = [[row for row in rows if (*_at(row), row["method"]) == (*place, method)] for place in places]
        lines.append((f"`{method}`", *(mean(found, "p_at_100") for found in cells)))
    lines.sort(key=lambda line: [float(value or 0) for value in line[1:]], reverse=True)
    cosine = {(row["corpus"], row["edition"]): row["p_at_100"] for row in results if row["method"] == "tfidf_cosine"}
    lines.append(
        ("cosine of tf-idf", *(f"{float(value):.3f}" if (value := cosine.get(at[:2])) else "" for at in places))
    )
    return table(("method", *(f"{corpus}, {edition}, {bits} bits" for corpus, edition, bits in places)), lines)


def _cell(row: Row) -> tuple[str, ...]:
    return row["corpus"], row["edition"], row["method"], row["bits"]


def _at(row: Row) -> tuple[str, str, str]:
    return row["corpus"], row["edition"], row["bits"]


def _before(tuned: float, old: Rows) -> str:
    if not old:
        return ""
    score = float(old[0]["val_p_at_100"])
    return f"{score:.3f}" + (", above the search's" if round(score, 3) > round(tuned, 3) else "")


def frozen(folder: Path) -> str:
    """Return the tables of the frozen method, one for each corpus and input, and that of its goals."""
    rows, intervals = rows_so_far(folder / "frozen.csv"), rows_so_far(folder / "frozen_intervals.csv")
    settings = yaml.safe_load((folder / "frozen.yaml").read_text(encoding="utf-8"))
    places = list(dict.fromkeys(_place(row) for row in rows))
    parts = [_frozen_place(place, rows, intervals, settings) for place in places]
    return "\n".join([*(part for part in parts if part), _goals(rows, intervals, settings)])


def _frozen_place(place: tuple[str, ...], rows: Rows, intervals: Rows, settings: dict[str, Any]) -> str:
    here = [row for row in rows if _place(row) == place]
    own = [row for row in here if row["method"] == settings["method"]]
    baselines = list(dict.fromkeys(row["weighting"] for row in here if row["method"] == settings["baseline"]))
    lines = []
    for bits in map(str, settings["widths"]):
        cells = [row for row in own if row["bits"] == bits]
        if not cells:
            continue
        interval = next((row for row in intervals if _place(row) == place and row["bits"] == bits), None)
        test, cosine = mean(cells, "p_at_100"), mean(cells, "cosine")
        lines.append(
            (
                bits,
                spread(cells, "p_at_100"),
                f"{float(interval['low']):.3f} to {float(interval['high']):.3f}" if interval else "",
                spread(cells, "val_p_at_100"),
                *(mean(_baseline(here, settings["baseline"], one, bits), "p_at_100") for one in baselines),
                _signed(interval),
                cosine,
                f"{float(test) / float(cosine):.0%}" if cosine else "",
            )
        )
    if not lines:
        return ""
    corpus, edition, given = place
    names = [f"`{settings['baseline']}`, {one}" for one in baselines]
    header = ["bits", "P@100, test", "95 %", "validation", *names]
    header += [f"above the better `{settings['baseline']}`, 95 %", "cosine of activations", "kept by the bits"]
    what = {"words": "words", "both": "words and vectors"}[given]
    title = f"**{corpus}, edition {edition}, {what}; {len({row['seed'] for row in own})} seeds**"
    return f"{title}\n\n{table(header, lines)}\n{_upper(here, own, settings)}\n"


def _upper(here: Rows, own: Rows, settings: dict[str, Any]) -> str:
    """Return what real-valued vectors and labels reach, and the share of it that the method's widest codes have."""
    widest = float(mean([row for row in own if row["bits"] == str(settings["bits"])], "p_at_100") or "nan")
    parts = []
    for row in here:
        if row["method"] in (*_UPPER, settings["supervised"]["method"]):
            name = _UPPER.get(row["method"], f"`{row['method']}` (labels), {row['bits']} bits")
            score = float(row["p_at_100"])
            parts.append(f"{name} {score:.3f} ({widest / score:.0%})")
    return (
        f"On test, and in brackets the share that {settings['bits']} bits reach: {'; '.join(parts)}." if parts else ""
    )


def _goals(rows: Rows, intervals: Rows, settings: dict[str, Any]) -> str:
    lines = []
    for goal in settings["goals"]:
        place, bits = (goal["corpus"], goal["edition"], goal["input"]), str(goal["bits"])
        cells = [r for r in rows if (*_place(r), r["method"], r["bits"]) == (*place, settings["method"], bits)]
        interval = next((row for row in intervals if (*_place(row), row["bits"]) == (*place, bits)), None)
        reached = mean(cells, "p_at_100")
        met = "" if not reached else "yes" if float(reached) >= goal["at_least"] else "no"
        if interval and float(interval["low"]) < goal["at_least"] <= float(interval["high"]):
            met += ", and the interval has it within"
        what = f"{goal['corpus']}, {goal['edition']}, {goal['input']}, {bits} bits"
        lines.append((what, f"{goal['at_least']:.2f}", reached or "not run", met))
    return "**Goals, set before test was looked at**\n\n" + table(("P@100 on test", "goal", "reached", "met"), lines)


def orders(folder: Path) -> str:
    """Return the verdict on each order of methods, by scores on validation."""
    found = verdicts(folder / "methods.yaml", folder / "results.csv")
    lines = (
        (one.order.replace("|", "\\|"), one.verdict, "; ".join(one.broken) or one.remark.strip(" ()")) for one in found
    )
    return table(("order", "verdict", "pairs that break it, or methods without a score"), lines)


def _of(rows: Rows, place: tuple[str, ...]) -> Rows:
    return [row for row in rows if _cell(row) == place]


def _place(row: Row) -> tuple[str, ...]:
    return row["corpus"], row["edition"], row["input"]


def _baseline(rows: Rows, method: str, weighting: str, bits: str) -> Rows:
    return [row for row in rows if (row["method"], row["weighting"], row["bits"]) == (method, weighting, bits)]


def _signed(interval: Row | None) -> str:
    if interval is None:
        return ""
    above, low, high = (float(interval[name]) for name in ("above", "above_low", "above_high"))
    return f"{above:+.3f}, {low:+.3f} to {high:+.3f}"
