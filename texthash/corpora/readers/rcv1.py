"""``rcv1``: Reuters Corpus Volume I, version 2, in the split of Lewis et al.

It consists of 23,149 training and 781,265 test stories under 103 topics.

The text itself is under an agreement with NIST; Lewis et al. publish data derived from it, which is read from

* stemmed words, ``lyrl2004_tokens_{train,test_pt0,...,test_pt3}.dat``: ``.I`` and a number, ``.W``, lines of words, a
  blank line. Stop words are removed and the words of a story are not in their order: only bags of words are available;
* vectors ``lyrl2004_vectors_*.dat``, which scikit-learn fetches: a story's number and ``term:weight`` pairs on a line.
  The weights, cosine-normalised log tf-idf, cannot be converted back to counts: a document becomes the words
  ``t00864 t01523 ...`` of the numbers of its terms, each once. Words are preferred if both are available;

with the topics of all stories, ``rcv1-v2.topics.qrels`` (scikit-learn: ``rcv1v2.topics.qrels``), a line
``topic number 1`` each; and ``rcv1.topics.hier.orig``, the tree of topics, if available. All plain or gzipped.

Label set ``topics103``: all topics; ``top4``: CCAT, ECAT, GCAT and MCAT, the roots. A story has all ancestors of each
of its topics: two stories that share any topic share a root, so relevance is the same in both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from texthash.config import CorpusConfig
from texthash.corpora.corpus_record import CorpusRecord, Download
from texthash.corpora.document import Document
from texthash.corpora.find_files import find_files, missing
from texthash.corpora.readers import rcv1_topics, rows, text_files
from texthash.corpora.readers.rcv1_topics import TOP, TOPICS, TREE, Topics
from texthash.errors import CorpusError
from texthash.paths import StateDir

TEXTS = ("train", "test_pt0", "test_pt1", "test_pt2", "test_pt3")
TOKENS, VECTORS = (tuple(f"lyrl2004_{kind}_{text}.dat" for text in TEXTS) for kind in ("tokens", "vectors"))
QRELS = ("rcv1-v2.topics.qrels", "rcv1v2.topics.qrels")
TERMS_ONLY = "numbers of terms, not words, and each once"
_FORMS = [(*texts, qrels, *tree) for texts in (TOKENS, VECTORS) for qrels in QRELS for tree in ((TREE,), ())]
_APPENDIX = "http://www.ai.mit.edu/projects/jmlr/papers/volume5/lewis04a"
record = CorpusRecord(
    name="rcv1",
    title="Reuters Corpus Volume I, version 2 (RCV1-v2), LYRL2004",
    documents=804_414,
    labels=103,
    multi_label=True,
    licence="derived data, published with the consent of Reuters; the text is under an agreement with NIST",
    source=f"{_APPENDIX}/lyrl2004_rcv1v2_README.htm",
    citation="Lewis, Yang, Rose, Li, RCV1: A New Benchmark Collection for Text Categorization Research, JMLR 5, 2004",
    survey="804,414 documents, 103 labels, reduced to 4, multi-label",
    splits={"train": 23_149, "test": 781_265},
    label_sets=("topics103", "top4"),
    downloads=(
        *(Download(f"{_APPENDIX}/a12-token-files/{file}.gz", f"{file}.gz") for file in TOKENS),
        # The copy of scikit-learn, which publishes the checksum.
        Download(
            "https://ndownloader.figshare.com/files/5976048",
            f"{QRELS[1]}.gz",
            checksum="sha256:2a98e5e5d8b770bded93afc8930d88299474317fe14181aee1466cc754d0d1c1",
        ),
        Download(f"{_APPENDIX}/a02-orig-topics-hierarchy/{TREE}", TREE),
    ),
    terms="Derived from stories that Reuters gives out for research; public because the text cannot be reconstructed "
    "from these files.",
    how_to_get="the text of the stories is given out by NIST to organisations that sign its agreement "
    "(https://trec.nist.gov/data/reuters/reuters.html); the words and topics that are read here are public.",
)
_VECTOR = re.compile(r"(\d{1,9})((?:\s+\d+:[-+.\deE]+)*)\s*")
_TERM = re.compile(r"(\d+):")
_AGAIN = "fetch the file again, as it is published."

Part = partial[Iterator[Document]]


def files(config: CorpusConfig, home: StateDir) -> list[Path]:
    """Return texts, topics and the tree, if any; empty if no form is available."""
    return find_files("rcv1", _FORMS, config, home)


def parts(config: CorpusConfig, home: StateDir) -> list[Part]:
    """Return the part of training stories, then those of test stories; for canonical rows, one part per file.

    Raises:
        CorpusError: The corpus is not available; raised by a part, a file is malformed or a story has no topic (names
            file and line).
    """
    found = files(config, home)
    if not found:
        raise missing(record, config, home)
    if found[0].name.endswith(".jsonl.gz"):
        return [partial(rows.documents, path) for path in found]
    wanted = TOP if config.edition.label_set == "top4" else TOPICS
    texts, qrels = found[: len(TEXTS)], found[len(TEXTS)]
    return [partial(_documents, path, qrels, wanted) for path in texts]


def label_parents(config: CorpusConfig, home: StateDir) -> dict[str, str]:
    """Return the parent of each topic: from the file of the tree if available, else derived from the topics' codes."""
    if config.edition.label_set == "top4":
        return {}
    tree = [path for path in files(config, home) if path.name.startswith(TREE)]
    return rcv1_topics.read_tree(tree[0]) if tree else rcv1_topics.PARENTS


def _documents(path: Path, qrels: Path, wanted: tuple[str, ...]) -> Iterator[Document]:
    topics = Topics(qrels)
    vectors = path.name.startswith("lyrl2004_vectors")
    split = "train" if "_train." in path.name else "test"
    for line, number, text in _vectors(path) if vectors else _tokens(path):
        origin = f"{path}:{line}"
        labels = tuple(topic for topic in topics.of(number, origin) if topic in wanted)
        yield Document(str(number), text, labels, split, origin=origin, remark=TERMS_ONLY if vectors else "")


def _tokens(path: Path) -> Iterator[tuple[int, int, str]]:
    """Yield line, number and words of each story."""
    begun, number = 0, -1
    words: list[str] | None = None
    for line, text in text_files.lines(path, "latin-1"):
        text = text.strip()
        if text.startswith(".I") or not text:
            if words is not None:
                yield begun, number, " ".join(words)
            elif number >= 0:
                raise CorpusError(f"{path}:{line}: the story {number} has no .W.", _AGAIN)
            begun, number, words = line, rcv1_topics.number(text[2:], path, line) if text else -1, None
        elif number < 0 or (words is None) != (text == ".W"):
            raise CorpusError(f"{path}:{line}: {text[:40]!r} where .I, .W or words belong.", _AGAIN)
        elif words is None:
            words = []
        else:
            words.append(text)
    if words is not None:
        yield begun, number, " ".join(words)
    elif number >= 0:
        raise CorpusError(f"{path}:{begun}: the story {number} is cut off.", _AGAIN)


def _vectors(path: Path) -> Iterator[tuple[int, int, str]]:
    """Yield line, number and terms of each story."""
    for line, text in text_files.lines(path, "latin-1"):
        vector = _VECTOR.fullmatch(text)
        if vector is None:
            raise CorpusError(f"{path}:{line}: {text[:40]!r} is not a number and term:weight pairs.", _AGAIN)
        yield line, int(vector[1]), " ".join(f"t{term.zfill(5)}" for term in _TERM.findall(vector[2]))
