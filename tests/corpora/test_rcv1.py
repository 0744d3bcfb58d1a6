"""RCV1 from files in exactly the published forms: words, vectors, topics and their tree."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest

from texthash.config import CorpusConfig, Edition, SplitRule
from texthash.corpora.catalog import available, open_source, records
from texthash.corpora.document import Document
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.readers import rcv1
from texthash.corpora.readers.rcv1_topics import PARENTS, TOPICS
from texthash.errors import CorpusError
from texthash.paths import StateDir

# Number, lines of words and topics of each story, by file.
STORIES = {
    "train": [
        (2286, ["recov recov excit", "bring econom"], ["E11", "ECAT", "M11", "M12", "MCAT"]),
        (2287, ["shar shar"], ["C15", "C151", "C1511", "CCAT"]),
    ],
    "test_pt0": [(26151, ["pol elect"], ["GCAT", "GPOL"])],
    "test_pt1": [(226152, ["barrel"], ["CCAT", "C24", "MCAT", "M14", "M143"])],
    "test_pt2": [(426153, ["socc"], ["GCAT", "GSPO"])],
    "test_pt3": [(810596, ["bond"], ["MCAT", "M12"])],
}
VECTORS = {"train": "2286  864:0.0497399253756197 1523:0.044664135988103 46694:1.2e-05\n2287  9:1\n"}
TREE = """parent: None  child: Root  child-description: Root
parent: Root  child: CCAT  child-description: CORPORATE/INDUSTRIAL
parent: CCAT  child: C15   child-description: PERFORMANCE
parent: C15   child: C151  child-description: ACCOUNTS/EARNINGS
"""


def tokens(stories: list[tuple[int, list[str], list[str]]]) -> str:
    return "".join(f".I {number}\n.W\n" + "".join(f"{line}\n" for line in lines) + "\n" for number, lines, _ in stories)


def put_qrels(place: Path, name: str = rcv1.QRELS[0]) -> None:
    stories = sorted(chain.from_iterable(STORIES.values()), reverse=True)
    (place / name).write_text("".join(f"{topic} {number} 1\n" for number, _, topics in stories for topic in topics))


def put_tokens(place: Path) -> None:
    for text, stories in STORIES.items():
        (place / f"lyrl2004_tokens_{text}.dat").write_text(tokens(stories))
    put_qrels(place)


def put_vectors(place: Path) -> None:
    """As scikit-learn fetches them: gzipped, and the topics under a name of their own."""
    for text, stories in STORIES.items():
        lines = VECTORS.get(text) or "".join(f"{number}  7:0.5 47236:0.25\n" for number, _, _ in stories)
        (place / f"lyrl2004_vectors_{text}.dat.gz").write_bytes(gzip.compress(lines.encode()))
    put_qrels(place, rcv1.QRELS[1])
    path = place / rcv1.QRELS[1]
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def config(place: Path, **edition: object) -> CorpusConfig:
    return CorpusConfig(name="rcv1", data_dir=str(place), shards=1, edition=Edition.model_validate(edition))


def read(place: Path, **edition: object) -> list[Document]:
    return list(chain.from_iterable(part() for part in open_source(config(place, **edition), StateDir(place)).parts()))


def test_words_and_topics_of_all_files(tmp_path: Path) -> None:
    put_tokens(tmp_path)
    assert available("rcv1", str(tmp_path))
    documents = read(tmp_path)
    expected = [
        (str(number), " ".join(lines), set(topics), text[:5] if text == "train" else "test")
        for text, stories in STORIES.items()
        for number, lines, topics in stories
    ]
    assert [(d.id, d.text, set(d.labels), d.split) for d in documents] == expected
    assert documents[1].origin.endswith("lyrl2004_tokens_train.dat:6")
    assert not any(d.remark for d in documents)
    assert len(open_source(config(tmp_path), StateDir(tmp_path)).parts()) == len(STORIES)


def test_vectors_become_the_numbers_of_their_terms_and_say_so(tmp_path: Path) -> None:
    put_vectors(tmp_path)
    documents = read(tmp_path)
    assert [d.text for d in documents[:3]] == ["t00864 t01523 t46694", "t00009", "t00007 t47236"]
    assert set(documents[0].labels) == set(STORIES["train"][0][2])
    assert {d.remark for d in documents} == {rcv1.TERMS_ONLY}
    put_tokens(tmp_path)
    assert read(tmp_path)[0].text.startswith("recov"), "words come first"


def test_the_roots_alone(tmp_path: Path) -> None:
    put_tokens(tmp_path)
    documents = read(tmp_path, label_set="top4")
    assert [sorted(d.labels) for d in documents[:4]] == [["ECAT", "MCAT"], ["CCAT"], ["GCAT"], ["CCAT", "MCAT"]]
    assert open_source(config(tmp_path, label_set="top4"), StateDir(tmp_path)).label_parents() == {}


def test_the_tree_is_read_where_it_is_at_hand_and_known_where_it_is_not(tmp_path: Path) -> None:
    put_tokens(tmp_path)
    known = open_source(config(tmp_path), StateDir(tmp_path)).label_parents()
    assert set(known) == set(TOPICS) - {"CCAT", "ECAT", "GCAT", "MCAT"}
    assert len(TOPICS) == records()["rcv1"].labels
    (tmp_path / "rcv1.topics.hier.orig").write_text(TREE)
    source = open_source(config(tmp_path), StateDir(tmp_path))
    assert source.label_parents() == {"C15": "CCAT", "C151": "C15"}
    assert source.label_parents().items() <= PARENTS.items()
    assert "rcv1.topics.hier.orig" in [file.name for file in source.files()]
    (tmp_path / "rcv1.topics.hier.orig").write_text(TREE + "C15 C152\n")
    with pytest.raises(CorpusError, match=r"rcv1\.topics\.hier\.orig:5: not parent"):
        source.label_parents()


def test_what_is_published_is_what_the_reader_looks_for() -> None:
    record = records()["rcv1"]
    names = tuple(download.file.removesuffix(".gz") for download in record.downloads)
    assert names in rcv1._FORMS
    assert sum(record.splits.values()) == record.documents


def test_a_prepared_corpus_has_the_tree_and_the_remarks(tmp_path: Path) -> None:
    put_vectors(tmp_path)
    edition = {"name": "tiny", "split": SplitRule(kind="random", train=0.5, validation=0.25), "min_tokens": 0}
    corpus = PreparedCorpus.open(prepare_corpus(config(tmp_path, **edition), StateDir(tmp_path / "home")))
    manifest = corpus.manifest
    assert manifest.remarks == {rcv1.TERMS_ONLY: 6}
    assert manifest.label_parents["C1511"] == "C151"
    assert manifest.multi_label


FIRST = ".I 2286\n.W\nrecov\n\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (FIRST + ".I 2287\n\n", r"train\.dat:6: the story 2287 has no \.W"),
        (FIRST + ".I 2287\n", r"train\.dat:5: the story 2287 is cut off"),
        (FIRST + ".I abc\n.W\nword\n\n", r"train\.dat:5: 'abc' is not the number of a story"),
        (FIRST + "stray words\n", r"train\.dat:5: 'stray words' where \.I, \.W or words belong"),
        (".I 2286\nrecov\n\n", r"train\.dat:2: 'recov' where"),
        (".I 2286\n.W\nrecov\n.W\n", r"train\.dat:4: '\.W' where"),
        (FIRST + ".I 999\n.W\nword\n\n", r"train\.dat:5: .*topics\.qrels has no topic of the story 999"),
    ],
)
def test_bad_words_name_file_and_line(content: str, message: str, tmp_path: Path) -> None:
    put_tokens(tmp_path)
    (tmp_path / "lyrl2004_tokens_train.dat").write_text(content)
    with pytest.raises(CorpusError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("line", ["2287  864", "2287  864:x", "  864:0.5", "2287 864:0.5 :0.1", "\n"])
def test_bad_vectors_name_file_and_line(line: str, tmp_path: Path) -> None:
    put_vectors(tmp_path)
    content = f"2286  864:0.5\n{line}\n"
    (tmp_path / "lyrl2004_vectors_train.dat.gz").write_bytes(gzip.compress(content.encode()))
    with pytest.raises(CorpusError, match=r"train\.dat\.gz:2: .* is not a number and term:weight pairs"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("E11 2286", "is not a topic, a number and 1"),
        ("XCAT 2286 1", "is not a topic, a number and 1"),
        ("E11 2286 0", "is not a topic, a number and 1"),
        ("E11 none 1", "'none' is not the number of a story"),
    ],
)
def test_bad_topics_name_file_and_line(line: str, message: str, tmp_path: Path) -> None:
    put_tokens(tmp_path)
    (tmp_path / rcv1.QRELS[0]).write_text(f"E11 2286 1\n{line}\n")
    with pytest.raises(CorpusError, match=rf"topics\.qrels:2: .*{message}"):
        read(tmp_path)


def cut(path: Path) -> None:
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes() * 500)[:-20])
    path.unlink()


def repeat(path: Path) -> None:
    path.write_text(tokens(STORIES["test_pt0"] + STORIES["train"][:1]))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut, r"test_pt0\.dat\.gz:\d+: the gzip file is damaged or cut off"),
        (repeat, r"test_pt0\.dat:5: the id '2286' occurs twice \(first: .*train\.dat:1\)"),
    ],
)
def test_a_file_cut_off_and_a_story_twice(harm: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    put_tokens(tmp_path)
    harm(tmp_path / "lyrl2004_tokens_test_pt0.dat")
    with pytest.raises(CorpusError, match=message):
        prepare_corpus(config(tmp_path), StateDir(tmp_path / "home"))


def test_a_corpus_that_is_not_at_hand_says_what_to_get(tmp_path: Path) -> None:
    put_tokens(tmp_path)
    (tmp_path / "lyrl2004_tokens_test_pt3.dat").unlink()
    assert not available("rcv1", str(tmp_path), StateDir(tmp_path / "home"))
    with pytest.raises(CorpusError, match=r"rcv1 is not available: .*lyrl2004_tokens_train\.dat\.gz"):
        read(tmp_path)
