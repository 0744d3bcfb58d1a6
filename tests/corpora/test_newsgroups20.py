"""20 Newsgroups from each of its sources: the same documents in the same order, with the canonical counts."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from sklearn.datasets import _twenty_newsgroups
from sklearn.datasets._twenty_newsgroups import (
    strip_newsgroup_footer,
    strip_newsgroup_header,
    strip_newsgroup_quoting,
)

from texthash.config import CorpusConfig, Edition
from texthash.corpora.catalog import available, records
from texthash.corpora.document import Document
from texthash.corpora.readers import newsgroups20
from texthash.errors import CorpusError
from texthash.paths import StateDir


def read(folder: Path, **edition: object) -> list[Document]:
    config = CorpusConfig(name="20newsgroups", data_dir=str(folder), edition=Edition.model_validate(edition))
    return list(newsgroups20.read(config, StateDir(folder)))


def write(path: Path, messages: list[Document]) -> None:
    """The archive as it is published."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for message in messages:
            split, group, number = message.id.split("/")
            content = message.text.encode("latin-1")
            member = tarfile.TarInfo(f"20news-bydate-{split}/{group}/{number}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.fixture(scope="module")
def messages(corpora_at_hand: Path) -> list[Document]:
    return read(corpora_at_hand)


def test_counts_are_the_canonical_ones(messages: list[Document]) -> None:
    record = records()["20newsgroups"]
    assert Counter(message.split for message in messages) == {"train": 11_314, "test": 7_532}
    assert len(messages) == record.documents
    assert len({label for message in messages for label in message.labels}) == record.labels


def test_groups_have_the_seven_hierarchies_of_usenet_as_parents(messages: list[Document], tmp_path: Path) -> None:
    config = CorpusConfig(name="20newsgroups", edition=Edition())
    parents = newsgroups20.label_parents(config, StateDir(tmp_path))
    assert parents.keys() == {label for message in messages for label in message.labels}
    assert Counter(parents.values()) == {"comp": 5, "rec": 4, "sci": 4, "talk": 4, "alt": 1, "misc": 1, "soc": 1}


def test_the_archive_gives_the_same_documents(messages: list[Document], tmp_path: Path) -> None:
    write(tmp_path / newsgroups20.ARCHIVE, messages[::-1])
    assert available("20newsgroups", str(tmp_path))
    again = read(tmp_path)
    assert [(d.id, d.text, d.labels, d.split) for d in again] == [(d.id, d.text, d.labels, d.split) for d in messages]


def test_stripping_is_that_of_scikit_learn(messages: list[Document], corpora_at_hand: Path) -> None:
    stripped = read(corpora_at_hand, strip=("headers", "footers", "quotes"))
    for before, after in list(zip(messages, stripped, strict=True))[::200]:
        expected = strip_newsgroup_quoting(strip_newsgroup_footer(strip_newsgroup_header(before.text)))
        assert after.text == expected
        assert after.id == before.id


def test_a_part_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    (tmp_path / "20newsgroups_part.jsonl").write_text("")
    with tarfile.open(tmp_path / newsgroups20.ARCHIVE, "w:gz") as archive:
        member = tarfile.TarInfo("20news-bydate-train/sci.space/1")
        archive.addfile(member, io.BytesIO())
    with pytest.raises(CorpusError, match=r"has \{'train': 1\} documents, not"):
        read(tmp_path)


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / newsgroups20.ARCHIVE).write_bytes(b"no archive")
    with pytest.raises(CorpusError, match=r"20news-bydate\.tar\.gz is damaged"):
        read(tmp_path)


def test_an_archive_that_is_cut_off_or_corrupt_is_named(messages: list[Document], tmp_path: Path) -> None:
    path = tmp_path / newsgroups20.ARCHIVE
    write(path, messages[:500])
    whole = path.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:-1000], whole[:middle], whole[:middle] + b"\xff" * 64 + whole[middle + 64 :]):
        path.write_bytes(damaged)
        with pytest.raises(CorpusError, match=r"20news-bydate\.tar\.gz is damaged"):
            read(tmp_path)


def test_the_archive_to_fetch_is_that_of_scikit_learn() -> None:
    [download] = records()["20newsgroups"].downloads
    known = _twenty_newsgroups.ARCHIVE
    assert (download.url, download.file, download.checksum) == (known.url, known.filename, f"sha256:{known.checksum}")


def test_what_is_not_at_hand_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError, match=r"(?s)neither 20news-bydate\.tar\.gz nor .*texthash corpora fetch 20newsgroups"
    ):
        read(tmp_path)
    assert not available("20newsgroups", str(tmp_path), StateDir(tmp_path))


def test_a_data_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="is not a folder"):
        read(tmp_path / "nowhere")
