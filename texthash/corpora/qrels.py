"""Files of relevance judgements (qrels), in the form of BEIR or of TREC.

BEIR: three columns separated by tabs under the header ``query-id  corpus-id  score``. TREC: four columns separated by
blanks, query, an unused one, document and grade, without a header. A grade is a whole number; 0 and less is judged not
relevant.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from texthash.corpora.readers import text_files
from texthash.errors import CorpusError
from texthash.io.atomic import write_text

Qrels = dict[str, dict[str, int]]
"""Query id to document id to grade."""
_HEADER = ("query-id", "corpus-id", "score")
_FORM = "write query-id, corpus-id and score separated by tabs, under that header, or TREC's four columns."


def read_qrels(path: Path) -> Qrels:
    """Read the judgements of a file in either form, plain or gzipped.

    Raises:
        CorpusError: A line has another form, its grade is no whole number, or a document is judged twice with different
            grades (names file and line).
    """
    found: Qrels = {}
    for line, query, document, grade in _rows(path):
        own = found.setdefault(query, {})
        if own.setdefault(document, grade) != grade:
            raise CorpusError(
                f"{path}:{line}: the document {document!r} has the grade {grade} for the query {query!r}, "
                f"and {own[document]} before.",
                "judge each document of a query once.",
            )
    return found


def write_qrels(path: Path, qrels: Qrels) -> None:
    """Write judgements in the form of BEIR."""
    rows = (f"{query}\t{document}\t{grade}\n" for query, own in qrels.items() for document, grade in own.items())
    write_text(path, "\t".join(_HEADER) + "\n" + "".join(rows))


def _rows(path: Path) -> Iterator[tuple[int, str, str, int]]:
    """Yield line, query, document and grade."""
    beir: bool | None = None
    for line, text in text_files.lines(path):
        cells = tuple(text.rstrip("\r\n").split("\t"))
        if not text.strip():
            continue
        if beir is None and (beir := tuple(cell.strip().lower() for cell in cells) == _HEADER):
            continue
        if not beir:
            cells = tuple(text.split())
        if len(cells) != (3 if beir else 4):
            form = "BEIR's three" if beir else "TREC's four, and there is no header of BEIR"
            raise CorpusError(f"{path}:{line}: {len(cells)} columns, not {form}: {text.strip()[:80]!r}.", _FORM)
        query, document, grade = cells[0], cells[-2], cells[-1]
        yield line, query, document, _grade(grade, f"{path}:{line}")


def _grade(text: str, origin: str) -> int:
    try:
        value = float(text)
        if value.is_integer():
            return int(value)
    except ValueError:
        pass
    raise CorpusError(f"{origin}: the grade {text[:40]!r} is no whole number.", _FORM)
