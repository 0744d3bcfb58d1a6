"""The embedded corpus: documentation strings of installed packages."""

from __future__ import annotations

import inspect
from collections import Counter
from pathlib import Path

import pytest
from sklearn.utils import check_array

from texthash.config import CorpusConfig
from texthash.corpora.readers import pydoc
from texthash.errors import CorpusError
from texthash.paths import StateDir

PROSE = "This function does a number of things that take more than fifteen words to say in full"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    files = {
        "big/sub/__init__.py": f'"""{PROSE}: module."""\n',
        "big/sub/a.py": f'class A:\n    """{PROSE}: class."""\n\n    if True:\n        def f(self):\n'
        f'            """{PROSE}: method."""\n\ndef short():\n    """Too short."""\n\n'
        f'def same():\n    """{PROSE}: class."""\n',
        "big/other.py": f'"""{PROSE}: other."""\n',
        "broken/sub/a.py": f'def (:\n    """{PROSE}"""\n    """{PROSE}"""\n    """{PROSE}"""\n',
        "texthash/sub/a.py": f'"""{PROSE}: ours."""\n',
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def test_documents_are_long_distinct_strings_of_labels_with_enough(packages: Path) -> None:
    found = list(pydoc.documents_in([packages], min_documents=3))
    assert [(d.title, d.labels, d.text.split(": ")[1]) for d in found] == [
        ("big.sub", ("big.sub",), "module."),
        ("big.sub.a.A", ("big.sub",), "class."),
        ("big.sub.a.A.f", ("big.sub",), "method."),
    ]
    assert found[1].origin == f"{packages}/big/sub/a.py:1"
    assert len({d.id for d in found}) == 3


def test_no_label_with_enough_is_an_error(packages: Path) -> None:
    with pytest.raises(CorpusError, match="has 99 documentation strings"):
        list(pydoc.documents_in([packages], min_documents=99))


def test_a_real_package_gives_what_the_module_says_and_always_the_same() -> None:
    folders = pydoc.package_folders()
    first = list(pydoc.documents_in(folders, packages=("sklearn",)))
    assert first == list(pydoc.documents_in(folders, packages=("sklearn",)))
    counts = Counter(d.labels for d in first)
    assert min(counts.values()) >= 150
    assert len({d.text for d in first}) == len(first)
    by_title = {d.title: d.text for d in first}
    assert by_title["sklearn.utils.validation.check_array"] == inspect.getdoc(check_array)


@pytest.mark.slow
def test_all_packages_make_a_corpus_of_the_expected_size(tmp_path: Path) -> None:
    documents = list(pydoc.read(CorpusConfig(), StateDir(tmp_path)))
    assert 20_000 <= len(documents) <= 120_000
    assert len({d.labels for d in documents}) >= 30
    assert len({d.id for d in documents}) == len(documents)
