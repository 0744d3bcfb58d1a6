"""Test collections: documents, queries, and the grades of the documents that were judged for each query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from texthash.corpora.document import SPLITS
from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.corpora.qrels import Qrels
from texthash.corpora.readers.beir import is_beir, read_documents, read_judgements
from texthash.errors import CorpusError, UsageError
from texthash.evaluation.relevance import judged_queries
from texthash.evaluation.retrieval.ranked import Judged

_SEED = 0


@dataclass(frozen=True)
class Collection:
    """Test collection: Q judged queries of one split, over N documents.

    Attributes:
        name: Name shown in tables.
        split: Split of the queries.
        document_ids, documents: Id and text of each document.
        query_ids, queries: Id and text of each query.
        judged: Grades of the documents of each query, by number.
        notes: Sentences on what is left out.
    """

    name: str
    split: str
    document_ids: Sequence[str]
    documents: Sequence[str]
    query_ids: Sequence[str]
    queries: Sequence[str]
    judged: Sequence[Judged]
    notes: Sequence[str] = ()

    @property
    def qrels(self) -> Qrels:
        """Judgements by ids."""
        return {
            query: {self.document_ids[number]: grade for number, grade in grades.items()}
            for query, grades in zip(self.query_ids, self.judged, strict=True)
        }

    @classmethod
    def read(cls, folder: str | Path, split: str | None = None, name: str = "") -> Collection:
        """Read a collection in the layout of BEIR.

        Args:
            folder: Folder with ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/``.
            split: ``train``, ``validation`` or ``test``; None: validation (``dev.tsv``), else train, else the only
                split, test: choices are not made on test where there is another.
            name: Name shown in tables; empty: that of the folder.

        Raises:
            CorpusError: The folder has another layout, a file is malformed, or a document id occurs twice.
            UsageError: The split has no judgements.
        """
        folder = Path(folder)
        if not is_beir(folder):
            raise CorpusError(
                f"{folder} is no test collection in the layout of BEIR.",
                "name a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv.",
            )
        judgements = read_judgements(folder)
        chosen = chosen_split(list(judgements.qrels), split, str(folder))
        ids: list[str] = []
        texts: list[str] = []
        numbers: dict[str, int] = {}
        for document in read_documents(folder):
            if numbers.setdefault(document.id, len(ids)) != len(ids):
                raise CorpusError(f"{document.origin}: the id {document.id!r} occurs twice.", "give each its own id.")
            ids.append(document.id)
            texts.append(document.text)
        qrels = judgements.qrels[chosen]
        judged = [{numbers[id_]: grade for id_, grade in own.items()} for own in qrels.values()]
        asked = [judgements.queries[query] for query in qrels]
        return cls(name or folder.resolve().name, chosen, ids, texts, list(qrels), asked, judged, judgements.notes)

    @classmethod
    def of_pairs(cls, corpus: PreparedCorpus, split: str = "validation") -> Collection:
        """Return the questions of a split of a pair corpus, over the documents of all splits that answer them."""
        found = judged_queries(corpus, split)
        if found.measure != "recall":
            raise UsageError(f"{corpus!r} has no questions.", "choose a pair corpus such as pycode.")
        indptr, answers = found.relevance.queries
        judged = [dict.fromkeys(answers[a:b].tolist(), 1) for a, b in pairwise(indptr)]
        rows = np.arange(len(found.queries)) if found.query_rows is None else found.query_rows
        texts, ids = [text for _, text, _ in _texts(found.queries)], found.queries.ids
        documents = [(id_, text) for one in found.database for id_, text, _ in _texts(one)]
        return cls(
            corpus.manifest.name,
            split,
            [id_ for id_, _ in documents],
            [text for _, text in documents],
            [ids[row] for row in rows],
            [texts[row] for row in rows],
            judged,
            found.left_out,
        )

    def some(self, most: int) -> Collection:
        """Return the collection with up to ``most`` of its queries, evenly spaced."""
        if len(self.queries) <= most:
            return self
        chosen = np.unique(np.linspace(0, len(self.queries) - 1, most).astype(np.int64)).tolist()
        ids, texts, judged = ([own[row] for row in chosen] for own in (self.query_ids, self.queries, self.judged))
        note = f"{len(chosen):,} of {len(self.queries):,} queries, evenly spaced."
        return replace(self, query_ids=ids, queries=texts, judged=judged, notes=[*self.notes, note])

    @classmethod
    def of_titles(cls, corpus: PreparedCorpus, split: str = "validation", most: int = 1_000) -> Collection:
        """Return known-item queries, the titles of up to ``most`` random documents of a split, over all splits' texts.

        The text of a document does not contain its title unless the source repeats it there.
        """
        documents = [(name, *row) for name in SPLITS for row in _texts(corpus.split(name))]
        own = [number for number, (name, *_, title) in enumerate(documents) if name == split and title.strip()]
        if not own:
            raise UsageError(f"no document of {split} in {corpus!r} has a title.", "choose a corpus with titles.")
        drawn = np.sort(np.random.default_rng(_SEED).permutation(own)[:most]).tolist()
        notes = [f"Queries are the titles of {len(drawn):,} of {len(own):,} documents of {split}."]
        return cls(
            f"{corpus.manifest.name} titles",
            split,
            [id_ for _, id_, _, _ in documents],
            [text for _, _, text, _ in documents],
            [documents[number][1] for number in drawn],
            [documents[number][3] for number in drawn],
            [{number: 1} for number in drawn],
            notes,
        )


def chosen_split(available: Sequence[str], wanted: str | None, where: str) -> str:
    """Return the split that is evaluated: the wanted one, else validation, train or test, whichever is there first.

    Raises:
        UsageError: The wanted split has no judgements.
    """
    if wanted is not None and wanted not in available:
        raise UsageError(
            f"{where} has no judgements of {wanted}, only of {', '.join(available)}.", f"choose {available[0]}."
        )
    return wanted or next(split for split in ("validation", "train", "test") if split in available)


def _texts(split: Split) -> Iterator[tuple[str, str, str]]:
    """Yield id, text and title of each document."""
    for table in split.documents():
        yield from zip(*(table[name].to_pylist() for name in ("id", "text", "title")), strict=True)
