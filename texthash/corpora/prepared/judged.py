"""Queries and judgements of a prepared test collection, kept beside its documents.

``judged/queries.jsonl`` and ``judged/qrels/<split>.tsv`` have the layout of BEIR; splits are those of the queries.
"""

from __future__ import annotations

import json
from pathlib import Path

from texthash.corpora.qrels import Qrels, read_qrels, write_qrels
from texthash.corpora.readers.beir import Judgements, qrels_files
from texthash.corpora.readers.tables import rows
from texthash.io.atomic import write_text

_FOLDER, _QUERIES, _QRELS = "judged", "queries.jsonl", "qrels"


def write_judged(directory: Path, judgements: Judgements) -> None:
    """Write queries and judgements below the directory of a prepared corpus."""
    lines = (json.dumps({"_id": id_, "text": text}) + "\n" for id_, text in judgements.queries.items())
    write_text(directory / _FOLDER / _QUERIES, "".join(lines))
    for split, qrels in judgements.qrels.items():
        write_qrels(directory / _FOLDER / _QRELS / f"{split}.tsv", qrels)


def read_judged(directory: Path) -> Judgements:
    """Read queries and judgements of a prepared corpus; there are none if it was not made from a test collection."""
    folder = directory / _FOLDER
    if not folder.is_dir():
        return Judgements({}, {})
    queries = {row["_id"]: row["text"] for _, row in rows(folder / _QUERIES)}
    found: dict[str, Qrels] = {split: read_qrels(path) for split, path in qrels_files(folder).items()}
    return Judgements(queries, found)
