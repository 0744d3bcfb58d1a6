"""The embedded corpus: documentation strings of installed packages."""

from __future__ import annotations

import csv
import gzip
import inspect
from collections import Counter
from pathlib import Path

import pytest
from sklearn.utils import check_array

from texthash.config import CorpusConfig
from texthash.corpora.readers import pydoc
from texthash.corpora.readers.installed import own_dependencies, standard_library
from texthash.errors import CorpusError
from texthash.paths import StateDir

PROSE = "This function does a number of things that take more than fifteen words to say in full"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    files = {
        "big/__init__.py": f'"""{PROSE}: package."""\nfrom big.io.inner import read_it\nfrom ._frame import Frame\n',
        "big/io/__init__.py": f'"""{PROSE}: module."""\n',
        "big/io/inner.py": f'class A:\n    """{PROSE}: class."""\n\n    if True:\n        def f(self):\n'
        f'            """{PROSE}: method."""\n\n    def _own(self):\n        """{PROSE}: own."""\n\n'
        f'def read_it():\n    """{PROSE}: reader."""\n    def within():\n        """{PROSE}: within."""\n\n'
        f'def short():\n    """Too short."""\n\ndef same():\n    """{PROSE}: class."""\n',
        "big/_frame.py": f'from big._base import Base\n\nclass Frame(Base):\n    """{PROSE}: frame."""\n\n'
        f'    def load(self):\n        """{PROSE}: own load."""\n\n'
        f'def helper():\n    """{PROSE}: helper."""\n',
        "big/_base.py": f'class Base:\n    """{PROSE}: base."""\n    def save(self):\n        """{PROSE}: save."""\n'
        f'    def load(self):\n        """{PROSE}: load."""\n',
        "big/tests/test_a.py": f'"""{PROSE}: tests."""\n',
        "big/_vendor/other.py": f'"""{PROSE}: vendored."""\n',
        "big/externals/other.py": f'"""{PROSE}: vendored too."""\n',
        "few/sub/a.py": f'"""{PROSE}: few."""\n',
        "broken/sub/a.py": f'def (:\n    """{PROSE}"""\n    """{PROSE}"""\n    """{PROSE}"""\n' * 3,
        "texthash/sub/a.py": f'"""{PROSE}: ours."""\n',
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def test_documents_are_the_public_objects_under_the_names_by_which_programs_reach_them(packages: Path) -> None:
    found = list(pydoc.documents_in([packages], min_documents=4))
    assert [(d.title, d.labels, d.text.split(": ")[1]) for d in found] == [
        ("big", ("big",), "package."),
        ("big.Frame.save", ("big",), "save."),
        ("big.Frame", ("big",), "frame."),
        ("big.Frame.load", ("big",), "own load."),
        ("big.io", ("big.io",), "module."),
        ("big.io.inner.A", ("big.io",), "class."),
        ("big.io.inner.A.f", ("big.io",), "method."),
        ("big.read_it", ("big.io",), "reader."),
    ]
    assert found[5].origin == f"{packages}/big/io/inner.py:1"
    assert [d.id for d in found] == [d.title for d in found]


def test_a_small_submodule_counts_to_its_package_and_a_small_package_is_left_out(packages: Path) -> None:
    found = list(pydoc.documents_in([packages], min_documents=5))
    assert {d.labels for d in found} == {("big",)}
    assert len(found) == 8
    with pytest.raises(CorpusError, match="has 99 documentation strings"):
        list(pydoc.documents_in([packages], min_documents=99))


def test_the_standard_library_is_in_it_compiled_modules_included() -> None:
    found = {d.id: d for d in pydoc.documents_in([], packages=(), standard=standard_library())}
    assert found["csv.reader"].text == inspect.cleandoc(csv.reader.__doc__ or "")
    assert found["gzip.open"].text == inspect.getdoc(gzip.open)
    assert found["gzip.open"].origin.startswith(gzip.__file__)
    assert {"asyncio.sleep", "threading.Thread.start", "os.listdir", "sorted", "list.sort", "hashlib"} <= found.keys()
    assert found["asyncio.sleep"].labels == ("python.asyncio",)
    assert found["sorted"].labels == found["list.sort"].labels
    assert {d.labels[0].partition(".")[0] for d in found.values()} == {"python"}
    assert not [id_ for id_ in found if id_.startswith(("_", "test.", "idlelib.", "posix.")) or "._" in id_]


def test_a_real_package_gives_what_the_module_says_and_always_the_same() -> None:
    folders = pydoc.package_folders()
    first = list(pydoc.documents_in(folders, packages=("scipy", "sklearn")))
    assert first == list(pydoc.documents_in(folders, packages=("scipy", "sklearn")))
    counts = Counter(d.labels[0] for d in first)
    assert counts.keys() >= {"scipy", "scipy.stats", "sklearn"}
    assert min(count for label, count in counts.items() if "." in label) >= 150
    assert len({d.text for d in first}) == len(first)
    by_title = {d.title: d.text for d in first}
    assert by_title["sklearn.utils.check_array"] == inspect.getdoc(check_array)


def test_only_packages_that_texthash_requires_are_in_it() -> None:
    found = own_dependencies()
    assert {"numpy", "scipy", "sklearn", "pandas", "matplotlib", "ray", "torch", "lance", "omegaconf"} <= found
    assert found.isdisjoint({"pytest", "faiss", "sentence_transformers", "texthash", "numpy.libs"})


@pytest.mark.slow
def test_all_packages_make_a_corpus_of_the_expected_size(tmp_path: Path) -> None:
    documents = list(pydoc.read(CorpusConfig(), StateDir(tmp_path)))
    assert 20_000 <= len(documents) <= 50_000
    assert len({d.labels for d in documents}) >= 30
    assert {d.labels[0].partition(".")[0] for d in documents} <= own_dependencies() | {"python"}
    assert len({d.id for d in documents}) == len(documents)
