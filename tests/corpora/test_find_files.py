"""Where the files of a corpus are found: forms, folders, gzipped or not, and what comes first."""

from __future__ import annotations

from pathlib import Path

import pytest

from texthash.config import CorpusConfig
from texthash.corpora.find_files import find_files
from texthash.paths import StateDir

FORMS = [("a.txt", "b.txt"), ("inner/all.csv",)]


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")


def found(folder: Path) -> list[str]:
    config = CorpusConfig(name="news", data_dir=str(folder))
    return [
        path.relative_to(folder).as_posix() for path in find_files("news", FORMS, config, StateDir(folder / "home"))
    ]


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (["a.txt"], []),
        (["b.txt", "a.txt"], ["a.txt", "b.txt"]),
        (["a.txt.gz", "b.txt"], ["a.txt.gz", "b.txt"]),
        (["a.txt", "a.txt.gz", "b.txt"], ["a.txt", "b.txt"]),
        (["news_2/a.txt", "news_2/b.txt", "other/a.txt", "other/b.txt"], ["news_2/a.txt", "news_2/b.txt"]),
        (["news_1/a.txt", "news_2/b.txt"], []),
        (["inner/all.csv", "news/a.txt", "news/b.txt"], ["news/a.txt", "news/b.txt"]),
        (["news/inner/all.csv.gz", "news.jsonl.gz"], ["news/inner/all.csv.gz"]),
        (["news-test.jsonl.gz", "news-1.jsonl.gz", "a.txt"], ["news-1.jsonl.gz", "news-test.jsonl.gz"]),
        (["newsletter.csv", "other.jsonl.gz"], []),
    ],
)
def test_the_first_form_that_is_whole_is_taken(tmp_path: Path, there: list[str], expected: list[str]) -> None:
    put(tmp_path, *there)
    assert found(tmp_path) == expected


def test_the_download_cache_comes_last(tmp_path: Path) -> None:
    put(tmp_path, "home/downloads/a.txt", "home/downloads/b.txt")
    assert found(tmp_path) == ["home/downloads/a.txt", "home/downloads/b.txt"]
    put(tmp_path, "news.jsonl.gz")
    assert found(tmp_path) == ["news.jsonl.gz"]
