"""Generate the tables of the documentation, and a page per method, from registry, catalog, results and configuration.

python pipelines/readme.py            # rewrite the tables, write docs/methods/*.md
python pipelines/readme.py --check    # exit 1 if a table is out of date
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path

import fair_tables
from method_pages import write_pages
from tables import Rows, mean, read_rows, spread, table

from texthash.config import LimitsConfig, limit_variable
from texthash.corpora.catalog import records
from texthash.corpora.corpus_record import CorpusRecord
from texthash.methods.registry import methods

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
COMPARISON = ROOT / "configs" / "comparison.csv"
RESULTS = ROOT / "configs" / "reproductions" / "results.csv"


def main() -> int:
    status = 0
    for file, tables in (
        (DOCS / "methods" / "index.md", {"methods": _methods()}),
        (DOCS / "corpora.md", {"corpora": _corpora()}),
        (
            DOCS / "results.md",
            {
                "equal budget": fair_tables.equal_budget(RESULTS.parent),
                "reused": fair_tables.reused(RESULTS.parent),
                "results": _results(),
                "orders": fair_tables.orders(RESULTS.parent),
            },
        ),
        (DOCS / "results-texthash.md", {"frozen": fair_tables.frozen(RESULTS.parent)}),
        (DOCS / "operations.md", {"limits": _limits()}),
        (DOCS / "comparison.md", {"comparison": _comparison(), "times": _times()}),
    ):
        status = max(status, _write(file, tables))
    if "--check" not in sys.argv[1:]:
        write_pages(DOCS / "methods", RESULTS)
    return status


def _filled(content: str, match: re.Match[str]) -> str:
    return match.group(1) + content + match.group(2)


def _write(file: Path, tables: dict[str, str]) -> int:
    text = file.read_text(encoding="utf-8")
    fresh = text
    for name, content in tables.items():
        fresh, count = re.subn(
            rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)",
            partial(_filled, content),
            fresh,
            flags=re.DOTALL,
        )
        if count != 1:
            print(f"{file.name} has {count} markers of the table {name!r}, not one.", file=sys.stderr)
            return 1
    if "--check" in sys.argv[1:]:
        if fresh != text:
            print(f"{file.name} is out of date; run: python pipelines/readme.py", file=sys.stderr)
            return 1
        return 0
    file.write_text(fresh, encoding="utf-8")
    return 0


def _methods() -> str:
    return table(
        ("name", "paper", "venue", "survey entry", "learns from", "fidelity"),
        (
            (
                f"[`{name}`]({name}.md)",
                cls.card.title,
                cls.card.venue,
                str(cls.card.survey_entry or ("own" if cls.card.fidelity == "own" else "baseline")),
                {"none": "text", "labels": "labels", "pairs": "pairs"}[cls.card.supervision],
                cls.card.fidelity,
            )
            for name, cls in methods().items()
        ),
    )


def _corpora() -> str:
    return table(
        ("name", "corpus", "documents", "published splits", "labels", "licence", "files"),
        (
            (
                f"`{name}`",
                record.title,
                f"{record.documents:,}" if record.documents else "as installed",
                ", ".join(f"{split} {count:,}" for split, count in record.splits.items()),
                _labels(record),
                record.licence,
                _files(record),
            )
            for name, record in records().items()
        ),
    )


def _labels(record: CorpusRecord) -> str:
    if record.pairs:
        return "questions instead"
    return f"{record.labels or 'as installed'}{', several a document' if record.multi_label else ''}"


def _files(record: CorpusRecord) -> str:
    if record.embedded:
        return "none needed"
    if not record.downloads:
        return "by hand"
    return "fetched, after its terms" if record.terms else "fetched"


def _limits() -> str:
    return table(
        ("service.limits", "variable", "default", "bounds"),
        (
            (f"`{name}`", f"`{limit_variable(name)}`", f"{field.default:,}", field.description or "")
            for name, field in LimitsConfig.model_fields.items()
        ),
    )


def _comparison() -> str:
    """Return recall, exactness and bytes of each engine of ``benchmark.py compare``."""
    return _compared(
        {
            "codes": "codes",
            "bytes_per_document": "bytes a document",
            "recall": "recall@10",
            "recall_rescored": "rescored by floats",
            "recall_own_rescoring": "by its own rescoring",
            "exact": "exact",
            "ties_in_order": "ties by row",
            "filtered_exact": "exact with a filter",
        }
    )


def _times() -> str:
    """Return the times of each engine of ``benchmark.py compare``."""
    return _compared(
        {
            "ms_single": "one query, ms",
            "ms_batched": "of 64 at once, ms each",
            "ms_rescored": "rescored, ms",
            "ms_filtered": "filtered, ms",
            "build_s": "build, s",
            "ms_to_add_1000": "add 1,000, ms",
            "added_found": "of them found then",
        }
    )


def _compared(columns: dict[str, str]) -> str:
    rows = read_rows(COMPARISON)
    return table(
        ("engine", *columns.values()),
        ((f"{row['engine']} {row['version']}", *(_cell(row[name]) for name in columns)) for row in rows),
    )


def _cell(value: str) -> str:
    """Return a number with three digits, or a text as it is."""
    try:
        number = float(value)
    except ValueError:
        return value
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _results() -> str:
    """Return a table for each corpus and edition, with all metrics at one width and P@100 at the others.

    Cells hold the mean and deviation over seeds, the range over orders of ties, and the number of collapsed runs; cells
    that were not run are empty.
    """
    editions: dict[tuple[str, str], Rows] = defaultdict(list)
    for row in read_rows(RESULTS):
        if row["settings"] != "tuned":  # those are in the table of equal budgets
            editions[row["corpus"], row["edition"]].append(row)
    named = {name: rows for name, rows in editions.items() if any(row["bits"] for row in rows)}  # not the cosine alone
    return "\n".join(_edition(*name, rows) for name, rows in named.items())


def _edition(corpus: str, edition: str, rows: Rows) -> str:
    others = sorted({int(row["bits"]) for row in rows if row["bits"]} - {_WIDTH})
    cells: dict[str, dict[str, Rows]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        cells[row["method"]][row["bits"]].append(row)
    header = (
        "method",
        "settings",
        f"P@100, {_WIDTH} bits",
        "worst to best",
        "MAP",
        *(f"{bits} bits" for bits in others),
        "seeds",
        "s/epoch",
        f"published, {_WIDTH} bits",
    )
    labelled = {name for name, cls in methods().items() if cls.card.supervision == "labels"}
    lines = []
    for method, widths in cells.items():
        main = widths.get(str(_WIDTH)) or widths.get("") or []
        worst, best = mean(main, "p_at_100_worst"), mean(main, "p_at_100_best")
        line = (
            f"`{method}`" + " (labels)" * (method in labelled),
            " / ".join(dict.fromkeys(row["settings"] for row in main)),
            _with_spread(main),
            f"{worst} to {best}" if worst else "",
            mean(main, "map"),
            *(_with_spread(widths.get(str(bits), [])) for bits in others),
            str(len(main)) if worst else "",
            mean(main, "seconds_per_epoch", 1),
            next((f"{float(row['published']):.3f}" for row in main if row["published"]), ""),
        )
        lines.append((mean(main, "p_at_100"), line))
    lines.sort(key=lambda one: one[0], reverse=True)
    printed = dict.fromkeys(row["published_source"] for row in rows if row["published"] and row["bits"] == str(_WIDTH))
    remarks = "".join(f"\nPublished: {source}. Another edition, so not comparable.\n" for source in printed)
    return f"**{corpus}, edition {edition}**\n\n" + table(header, (line for _, line in lines)) + remarks


def _with_spread(rows: Rows) -> str:
    """Return P@100: mean and deviation over seeds, and the number of collapsed runs."""
    collapsed = sum(row["collapsed"] == "yes" for row in rows)
    note = f" (codes collapsed in {collapsed} of {len(rows)})" if collapsed else ""
    return spread(rows, "p_at_100") + note


_WIDTH = 32


if __name__ == "__main__":
    sys.exit(main())
