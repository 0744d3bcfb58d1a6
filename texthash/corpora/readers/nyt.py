"""``nyt``: articles of the New York Times in a tree of 5 coarse and 26 fine topics.

It is searched, in this order, as

* the edition of the hashing papers (by DHIM), 11,527 articles with a fine topic: ``train.csv``, ``val.csv`` and
  ``test.csv`` with a line ``number,text`` for each article, and ``meta.txt`` with a line ``number: topic`` for each
  topic;
* the collection from which it was derived (by WeSHClass), 13,081 articles: ``dataset.txt`` and ``labels.txt``, a line
  for each article. 11,744 have a fine topic; the others, with a coarse one only, are left out where labels are fine.
  There is no split, and the id of an article is its line counted from 0, as in the authors' ``doc_id.txt``;
* canonical rows ``nyt*.jsonl.gz`` of either.

Label set ``fine``: the fine topic, with the coarse one above it in the tree; ``coarse``: the coarse topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest
from pathlib import Path

from texthash.config import CorpusConfig
from texthash.corpora.corpus_record import CorpusRecord
from texthash.corpora.document import Document
from texthash.corpora.find_files import find_files, missing
from texthash.corpora.readers import rows, tables, text_files
from texthash.corpora.readers.counts import checked
from texthash.errors import CorpusError
from texthash.paths import StateDir

SPLIT = ("meta.txt", "train.csv", "val.csv", "test.csv")
WHOLE = ("dataset.txt", "labels.txt")
SPLIT_COUNTS = {"train": 9_221, "validation": 1_152, "test": 1_154}
WHOLE_COUNTS = {"": 13_081}
COARSE_ONLY = "has no fine topic"
_TREE = {
    "politics": "federal_budget surveillance the_affordable_care_act immigration law_enforcement gay_rights "
    "gun_control military abortion",
    "arts": "dance television music movies",
    "business": "stocks_and_bonds energy_companies economy international_business",
    "science": "cosmos environment",
    "sports": "hockey basketball tennis golf football baseball soccer",
}
PARENTS = {fine: coarse for coarse, names in _TREE.items() for fine in names.split()}
record = CorpusRecord(
    name="nyt",
    title="New York Times, 26 topics",
    documents=11_527,
    labels=26,
    multi_label=False,
    licence="copyright The New York Times Company; no licence to redistribute",
    source="https://github.com/J-zin/DHIM",
    citation="Meng, Shen, Zhang and Han, Weakly-Supervised Hierarchical Text Classification, AAAI 2019; the edition: "
    "Ou et al., Refining BERT Embeddings for Document Hashing via Mutual Information Maximization, EMNLP Findings 2021",
    survey="11,527 documents, 26 labels, single-label",
    splits=SPLIT_COUNTS,
    label_sets=("fine", "coarse"),
    excluded_reasons=(COARSE_ONLY,),
    terms="The articles are The New York Times Company's: no program fetches them.",
    how_to_get=f"the authors of DHIM keep {', '.join(SPLIT)} under data/nyt of https://github.com/J-zin/DHIM, those of "
    f"WeSHClass {' and '.join(WHOLE)} under nyt of https://github.com/yumeng5/WeSHClass; whether you may use the "
    "articles is between you and The New York Times Company. Keep them in a folder named nyt.",
)
_AGAIN = "fetch the file again, as its authors publish it."


def files(config: CorpusConfig, home: StateDir) -> list[Path]:
    """Return the files of the first available form; empty if there is none."""
    return find_files("nyt", [SPLIT, WHOLE], config, home)


def label_parents(config: CorpusConfig, home: StateDir) -> dict[str, str]:
    """Return the coarse topic of each fine one; empty for the coarse label set."""
    return PARENTS if _fine(config) else {}


def read(config: CorpusConfig, home: StateDir) -> Iterator[Document]:
    """Return all articles in the order of the files.

    Raises:
        CorpusError: The corpus is not available, incomplete, or malformed (names file and line).
    """
    found = files(config, home)
    if not found:
        raise missing(record, config, home)
    if found[0].name.startswith(SPLIT[0]):
        documents = checked(_split(found), "nyt", found, SPLIT_COUNTS)
    elif found[0].name.startswith(WHOLE[0]):
        documents = checked(_whole(*found), "nyt", found, WHOLE_COUNTS)
    else:
        canonical = chain.from_iterable(rows.documents(path) for path in found)
        documents = checked(canonical, "nyt", found, SPLIT_COUNTS, {"": sum(SPLIT_COUNTS.values())}, WHOLE_COUNTS)
    return _labelled(documents, _fine(config))


def _split(found: list[Path]) -> Iterator[Document]:
    meta, *by_split = found
    topics: dict[str, str] = {}
    for line, text in text_files.lines(meta):
        number, colon, name = (part.strip() for part in text.partition(":"))
        if number.startswith("#"):  # the last line: numbers of documents
            continue
        if not colon or name not in PARENTS:
            raise CorpusError(f"{meta}:{line}: {text.strip()[:40]!r} is not number: topic.", _AGAIN)
        topics[number] = name
    for split, path in zip(SPLIT_COUNTS, by_split, strict=True):
        for index, (line, row) in enumerate(tables.cells(text_files.lines(path), str(path))):
            topic = topics.get(row[0].strip())
            if len(row) != 2 or topic is None:
                cells = f"{len(row)} cells, the first {row[0][:40]!r}"
                raise CorpusError(f"{path}:{line}: {cells}; expected the number of a topic and a text.", _AGAIN)
            yield Document(f"{split}/{index}", row[1], (topic,), split, origin=f"{path}:{line}")


def _whole(texts: Path, labels: Path) -> Iterator[Document]:
    for text, label in zip_longest(text_files.lines(texts), text_files.lines(labels)):
        if text is None or label is None:
            short, other = (texts, labels) if text is None else (labels, texts)
            line = (text or label)[0]
            raise CorpusError(f"{short} ends before {other}, which continues in line {line}.", _AGAIN)
        yield Document(str(text[0] - 1), text[1].strip(), (label[1].strip(),), origin=f"{texts}:{text[0]}")


def _labelled(documents: Iterable[Document], fine: bool) -> Iterator[Document]:
    """Reduce labels to the topic of the level; an article without a topic of that level is marked as excluded."""
    for document in documents:
        topics = set(document.labels)
        if not topics or topics - PARENTS.keys() - _TREE.keys():
            raise CorpusError(f"{document.origin}: {sorted(topics)} is not a topic of the tree.", _AGAIN)
        labels = topics & PARENTS.keys() if fine else {PARENTS.get(topic, topic) for topic in topics}
        excluded = "" if labels else COARSE_ONLY
        yield document._replace(labels=tuple(sorted(labels)), excluded=excluded)


def _fine(config: CorpusConfig) -> bool:
    return (config.edition.label_set or record.label_sets[0]) == "fine"
