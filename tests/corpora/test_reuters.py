"""Reuters-21578 from each of its forms, and what is wrong with damaged files."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from texthash.config import CorpusConfig, Edition, SplitRule
from texthash.corpora.catalog import available, open_source, records
from texthash.corpora.document import Document
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.manifest import Manifest
from texthash.corpora.readers import reuters
from texthash.corpora.readers.reuters_sgml import ARTICLES, NO_BODY, UNDIVIDED
from texthash.errors import CorpusError
from texthash.paths import StateDir


def config(folder: Path, label_set: str | None = None) -> CorpusConfig:
    edition = Edition(name="modapte", split=SplitRule(kind="halve_test"), label_set=label_set, vocabulary_size=2000)
    return CorpusConfig(name="reuters", data_dir=str(folder), edition=edition, shards=1)


def read(folder: Path, label_set: str | None = None) -> list[Document]:
    return list(open_source(config(folder, label_set), StateDir(folder / "home")).documents())


def kept(documents: list[Document]) -> list[Document]:
    return [document for document in documents if not document.excluded]


def essence(documents: list[Document]) -> list[tuple[str, str, list[str]]]:
    return [(d.id, d.split, sorted(d.labels)) for d in kept(documents)]


@pytest.fixture(scope="module")
def documents(corpora_at_hand: Path) -> list[Document]:
    return read(corpora_at_hand)


def test_counts_are_the_canonical_ones(documents: list[Document]) -> None:
    record = records()["reuters"]
    assert Counter(d.split for d in kept(documents)) == record.splits == {"train": 7_770, "test": 3_019}
    assert len(kept(documents)) == record.documents
    assert len({label for d in kept(documents) for label in d.labels}) == record.labels == 90
    assert Counter(d.excluded for d in documents if d.excluded) == {
        "not in the ModApte split": 8_676,
        "has no topic of topics90": 2_113,
    }
    assert Counter(d.remark for d in kept(documents) if d.remark) == {NO_BODY: 926, UNDIVIDED: 61}


def test_topics_are_those_with_training_and_test_articles_by_size(
    documents: list[Document], corpora_at_hand: Path
) -> None:
    sizes = Counter(label for d in kept(documents) for label in d.labels)
    assert sorted(sizes, key=lambda label: (-sizes[label], label)) == list(reuters.TOPICS)
    folder = corpora_at_hand / "reuters_sgm"
    split = {"train": set[str](), "test": set[str]()}
    for path in sorted(folder.glob("*.sgm.gz")):
        for article in gzip.decompress(path.read_bytes()).decode("latin-1").split("<REUTERS ")[1:]:
            side = "train" if 'LEWISSPLIT="TRAIN"' in article else "test" if 'LEWISSPLIT="TEST"' in article else ""
            if side and 'TOPICS="YES"' in article:
                topics = article.partition("<TOPICS>")[2].partition("</TOPICS>")[0]
                split[side] |= set(topics.replace("<D>", "").split("</D>")) - {""}
    assert split["train"] & split["test"] == set(reuters.TOPICS)


def test_the_20_most_frequent_topics_keep_hyphenated_names_whole(corpora_at_hand: Path) -> None:
    documents = read(corpora_at_hand, "top20")
    assert Counter(d.split for d in kept(documents)) == {"train": 7_114, "test": 2_735}
    labels = {label for d in kept(documents) for label in d.labels}
    assert len(labels) == 20
    assert {"money-fx", "money-supply", "veg-oil"} <= labels
    excluded = Counter(d.excluded for d in documents)
    assert excluded["has no topic of top20"] == 10_789 - 7_114 - 2_735
    assert excluded["has no topic of topics90"] == 2_113


def test_text_is_title_and_body_without_control_characters(documents: list[Document]) -> None:
    by_id = {d.id: d for d in documents}
    first = by_id["training/1"]
    assert first.title == "BAHIA COCOA REVIEW"
    assert first.text.startswith("BAHIA COCOA REVIEW\n\nShowers continued throughout the week in\nthe Bahia cocoa zone")
    assert by_id["training/30"].text == by_id["training/30"].title
    assert by_id["training/99"].title == "FEDERAL RESERVE WEEKLY REPORT 1 - FEB 26"
    assert "500 mln dlr untied loan" in by_id["training/918"].text, "&#127; parts words"
    assert all(d.title for d in kept(documents))
    assert not any(ord(character) < 32 and character not in "\n\t" for d in documents for character in d.text)
    assert not any("&lt;" in d.text or "&#" in d.text for d in documents)


def test_canonical_rows_give_the_same_documents(
    documents: list[Document], corpora_at_hand: Path, tmp_path: Path
) -> None:
    (tmp_path / "reuters.jsonl.gz").symlink_to(corpora_at_hand / "reuters_modapte90.jsonl.gz")
    assert essence(read(tmp_path)) == essence(documents)


def test_prepared_edition_is_multi_label_and_counts_what_is_left_out(corpora_at_hand: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(prepare_corpus(config(corpora_at_hand), StateDir(tmp_path)))
    assert manifest.multi_label
    assert len(manifest.label_names) == 90
    assert manifest.documents["train"] == 7_770
    assert manifest.documents["validation"] + manifest.documents["test"] == 3_019
    assert manifest.dropped["not in the ModApte split"] == 8_676
    assert manifest.remarks == {NO_BODY: 926, UNDIVIDED: 61}
    assert len(manifest.source_files) == 22


def article(number: int, *, split: str = "TRAIN", topics: tuple[str, ...] = ("earn",), text: str | None = None) -> str:
    title = f"<TITLE>TITLE {number}</TITLE>\n<DATELINE>X, Feb 1 - </DATELINE>"
    body = f"<BODY>Body &lt;AB&amp;C> of {number}\n Reuter\n&#3;</BODY>"
    topic = "".join(f"<D>{name}</D>" for name in topics)
    return (
        f'<REUTERS TOPICS="YES" LEWISSPLIT="{split}" CGISPLIT="TRAINING-SET" OLDID="1" NEWID="{number}">\n'
        f"<DATE>26-FEB-1987</DATE>\n<TOPICS>{topic}</TOPICS>\n<UNKNOWN> \n&#5;&#5;C T\n</UNKNOWN>\n"
        f"{text or f'<TEXT>&#2;{chr(10)}{title}{body}</TEXT>'}\n</REUTERS>\n"
    )


DOCTYPE = '<!DOCTYPE lewis SYSTEM "lewis.dtd">\n'


@pytest.fixture(scope="module")
def collection() -> dict[str, str]:
    """The 22 files with 21,578 small articles."""
    numbers = iter(range(1, 21_579))
    return {name: DOCTYPE + "".join(article(next(numbers)) for _ in range(count)) for name, count in ARTICLES.items()}


Write = Callable[[str, str], Path]


@pytest.fixture
def sgml(tmp_path: Path, collection: dict[str, str]) -> Write:
    """Writes the collection, one of its files with another content."""

    def write(name: str, content: str) -> Path:
        for file, text in {**collection, name: content}.items():
            (tmp_path / file).write_bytes(text.encode("latin-1"))
        return tmp_path

    return write


def test_special_articles(sgml: Write, collection: dict[str, str]) -> None:
    special = [
        article(21_001, split="NOT-USED"),
        article(21_002, topics=()),
        article(21_003, split="TEST", topics=("money-fx", "nonsense", "money-fx")),
        article(
            21_004, text='<TEXT TYPE="BRIEF">&#2;\n******<TITLE>ONLY A TITLE\n</TITLE>Blah blah blah.\n&#3;\n\n</TEXT>'
        ),
        article(21_005, text='<TEXT TYPE="UNPROC">&#2;\n A TABLE\n 1 caf\xe9&#127;2\n&#3;</TEXT>'),
        article(21_006).replace('TOPICS="YES"', 'TOPICS="BYPASS"'),
    ]
    rest = [article(number) for number in range(21_007, 21_579)]
    documents = {d.id: d for d in read(sgml("reut2-021.sgm", DOCTYPE + "".join(special + rest)))}
    assert len(documents) == 21_578
    assert documents["training/1"].text == "TITLE 1\n\nBody <AB&C> of 1\n Reuter"
    assert documents["unused/21001"].excluded == "not in the ModApte split"
    assert documents["training/21002"].excluded == "has no topic of topics90"
    assert documents["test/21003"].labels == ("money-fx",)
    assert (documents["training/21004"].text, documents["training/21004"].remark) == ("ONLY A TITLE", NO_BODY)
    assert documents["training/21005"].text == "A TABLE\n 1 caf\xe9 2"
    assert (documents["training/21005"].title, documents["training/21005"].remark) == ("A TABLE", UNDIVIDED)
    assert documents["training/21006"].excluded == "not in the ModApte split"


FIRST = article(1)
LINES = FIRST.count("\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"reut2-000\.sgm:0: the file ends after 0 articles, not 1000"),
        (DOCTYPE + FIRST, rf"reut2-000\.sgm:{LINES + 1}: the file ends after 1 articles, not 1000"),
        (DOCTYPE + FIRST + FIRST[:-20], rf"reut2-000\.sgm:{LINES + 2}: the file ends within this article"),
        (DOCTYPE + FIRST.replace("</REUTERS>\n", "") + FIRST, r"reut2-000\.sgm:2: the article has no end before"),
        (DOCTYPE + "<html>\n" + FIRST, r"reut2-000\.sgm:2: '<html>' is outside of articles"),
        (DOCTYPE + FIRST.replace("</TEXT>", ""), r"reut2-000\.sgm:2: the article lacks NEWID"),
        (
            DOCTYPE + FIRST.replace('LEWISSPLIT="TRAIN"', 'LEWISSPLIT="DEV"'),
            r"reut2-000\.sgm:2: the article lacks NEWID",
        ),
    ],
)
def test_broken_sgml_names_file_and_line(sgml: Write, content: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        read(sgml("reut2-000.sgm", content))


def test_a_gzip_that_is_cut_off_names_file_and_line(tmp_path: Path, collection: dict[str, str]) -> None:
    for name, text in collection.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode(), 1))
    path = tmp_path / "reut2-003.sgm.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorpusError, match=r"reut2-003\.sgm\.gz:\d+: the gzip file is damaged or cut off"):
        read(tmp_path)


def test_the_archive(tmp_path: Path, collection: dict[str, str]) -> None:
    path = tmp_path / reuters.ARCHIVE
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, text in reversed([("README.txt", "Reuters"), *collection.items()]):
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    documents = read(tmp_path)
    assert [d.id for d in documents] == [f"training/{number}" for number in range(1, 21_579)]
    assert documents[1000].origin.endswith("reuters21578.tar.gz:reut2-001.sgm:2")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CorpusError, match=r"reuters21578\.tar\.gz is damaged"):
        read(tmp_path)


@pytest.fixture(scope="module")
def nltk(documents: list[Document]) -> dict[str, bytes]:
    """NLTK's corpus as it is published: ``cats.txt``, ``test/14826``, ...; one training article is not in it."""
    texts = [d for d in kept(documents) if d.id != "training/14739"][-3019 - 7769 :]
    texts = [d for d in texts if d.split == "test"] + [d for d in texts if d.split == "train"][:7769]
    categories = "".join(f"{d.id} {' '.join(d.labels)}\n" for d in texts)
    return {
        "cats.txt": categories.encode(),
        **{d.id: d.text.replace("\n\n", "\n  ", 1).replace("<", "&lt;").encode("latin-1") for d in texts},
    }


def test_the_folder_of_nltk_and_its_zip(tmp_path: Path, nltk: dict[str, bytes]) -> None:
    with zipfile.ZipFile(tmp_path / "reuters.zip", "w") as archive:
        archive.writestr("reuters/README", "about")
        for name, content in nltk.items():
            archive.writestr(f"reuters/{name}", content)
    zipped = read(tmp_path)
    assert Counter(d.split for d in zipped) == {"train": 7_769, "test": 3_019}
    assert zipped[0].id == "training/1"
    assert zipped[0].title == "BAHIA COCOA REVIEW"
    assert "&lt;" not in "".join(d.text for d in zipped)
    with zipfile.ZipFile(tmp_path / "reuters.zip") as archive:
        archive.extractall(tmp_path)
    assert (
        len(open_source(config(tmp_path), StateDir(tmp_path)).reader.files(config(tmp_path), StateDir(tmp_path)))
        == 10_789
    )
    assert [(d.id, d.text, d.labels) for d in read(tmp_path)] == [(d.id, d.text, d.labels) for d in zipped]
    (tmp_path / "reuters" / "training" / "5").unlink()
    with pytest.raises(CorpusError, match=r"reuters/cats\.txt:\d+: there is no text 'training/5'"):
        read(tmp_path)


def test_half_of_nltks_corpus_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    (tmp_path / "reuters" / "test").mkdir(parents=True)
    (tmp_path / "reuters" / "test" / "14826").write_text("TITLE\n  text")
    (tmp_path / "reuters" / "cats.txt").write_text("test/14826 trade\n")
    with pytest.raises(CorpusError, match=r"cats\.txt has 1 test documents, not 7769 train, 3019 test"):
        read(tmp_path)
    (tmp_path / "reuters.zip").write_bytes(b"PK no zip")
    (tmp_path / "reuters" / "cats.txt").unlink()
    with pytest.raises(CorpusError, match=r"reuters\.zip cannot be read"):
        read(tmp_path)


def test_a_corpus_that_is_not_at_hand_says_where_it_is_to_be_had(tmp_path: Path) -> None:
    assert not available("reuters", str(tmp_path), StateDir(tmp_path))
    with pytest.raises(CorpusError, match=r"(?s)reuters is not available.*reuters21578\.tar\.gz"):
        read(tmp_path)
