"""The embedded pair corpus: descriptions of functions and their source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from texthash.config import CorpusConfig
from texthash.corpora.corpus_record import CorpusRecord
from texthash.corpora.readers import pycode
from texthash.errors import CorpusError
from texthash.paths import StateDir

SAYS = "Add the first number to the second one and"
MODULE = f'''
import functools

class Box:
    @functools.cache
    def add(self, a, b):
        """{SAYS} return it.

        A second paragraph is no part of the query.
        """
        # ä comment stays
        c = a + b
        c += 0
        return c

async def one_line(a): "{SAYS} wait."; a += 1; return (
    a)

def same_words(a):
    """{SAYS}
    return it."""
    a += 1
    a += 2
    return a

def same_source(a):
    """{SAYS} do nothing else."""
    a += 1
    return a, 1

def brief(a):
    """Too few words to ask for."""
    a += 1
    a += 2
    return a

def short(a):
    """{SAYS} that is all."""
    return a

def test_it(a):
    """{SAYS} fail."""
    a += 1
    a += 2
    return a

def __special__(a):
    """{SAYS} be special."""
    a += 1
    a += 2
    return a

def undocumented(a):
    a += 1
    a += 2
    return a
'''


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    files = {
        "big/sub/a.py": MODULE,
        "big/sub/b.py": f'def same(a, b):\n    """{SAYS} return a copy."""\n    a += 1\n    b += 1\n    return a\n',
        "big/tests/a.py": MODULE.replace("add", "sum"),
        "more/sub/c.py": f'def same(a, b):\n    """{SAYS} copy again."""\n    a += 1\n    b += 1\n    return a\n',
        "broken/sub/a.py": f'def (:\n    """{SAYS}"""\n',
        "texthash/sub/a.py": MODULE.replace("add", "ours"),
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


def test_a_function_answers_the_first_paragraph_of_what_it_says(packages: Path) -> None:
    found = {d.title: d for d in pycode.documents_in([packages])}
    add = found["big.sub.a.Box.add"]
    assert add.queries == (f"{SAYS} return it.",)
    assert add.text == (
        "@functools.cache\ndef add(self, a, b):\n    # ä comment stays\n    c = a + b\n    c += 0\n    return c"
    )
    assert add.labels == ("big.sub",)
    assert add.origin == f"{packages}/big/sub/a.py:6"


def test_what_is_left_out_and_what_counts_once(packages: Path) -> None:
    found = list(pycode.documents_in([packages]))
    assert [d.title for d in found] == ["big.sub.a.Box.add", "big.sub.b.same"]
    assert [d.title for d in pycode.documents_in([packages], packages=("more",))] == ["more.sub.c.same"]
    with pytest.raises(CorpusError, match=r"no function in .* has a description of 8 words"):
        list(pycode.documents_in([packages], packages=("broken",)))


def test_a_real_package_gives_code_without_its_description_and_always_the_same() -> None:
    folders = pycode.package_folders()
    first = list(pycode.documents_in(folders, packages=("sklearn",)))
    assert first == list(pycode.documents_in(folders, packages=("sklearn",)))
    assert len(first) > 500
    assert len({d.text for d in first}) == len({d.queries for d in first}) == len({d.id for d in first}) == len(first)
    for document in first:
        (function,) = ast.parse(document.text).body
        assert ast.get_docstring(function) is None
        assert document.queries[0] not in " ".join(document.text.split())


def test_the_record_says_that_it_is_a_pair_corpus(tmp_path: Path) -> None:
    assert isinstance(pycode.record, CorpusRecord)
    assert pycode.record.pairs
    assert pycode.record.embedded
    assert pycode.files(CorpusConfig(), StateDir(tmp_path)) == []


@pytest.mark.slow
def test_all_packages_make_a_corpus_of_the_expected_size(tmp_path: Path) -> None:
    documents = list(pycode.read(CorpusConfig(name="pycode"), StateDir(tmp_path)))
    assert 20_000 <= len(documents) <= 120_000
