"""The first lines that a person writes, in a process that has none of the engines."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import pytest

import texthash
from texthash.errors import UsageError

LINES = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "mlflow", "fastapi", "lance"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
import texthash

texts = [f"sort an array of numbers {n}" for n in range(40)] + [f"open and read a file {n}" for n in range(40)]
labels = ["sort"] * 40 + ["file"] * 40
model = texthash.train("nash", texts, bits=32, labels=labels, epochs=2)
assert model.encode(["sort an array"]).shape == (1, 4)
index = texthash.Index(model, texts, labels=labels)
assert len(index.search("sort an array", k=5)) == 5
figures = texthash.evaluate(model, ["sort an array"], texts, {"0": [str(n) for n in range(40)]})
assert 0 <= figures["p_at_10"].worst <= figures["p_at_10"].best <= 1
model.save(sys.argv[1] + "/model")
index.save(sys.argv[1] + "/index")
again = texthash.Index.open(sys.argv[1] + "/index").search("sort an array", k=5)
assert again.ids == index.search("sort an array", k=5).ids
assert (texthash.load(sys.argv[1] + "/model").encode(texts) == model.encode(texts)).all()
"""


def test_all_of_it_works_where_no_engine_can_be_imported(tmp_path):
    done = subprocess.run([sys.executable, "-c", LINES, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there():
    assert {name: getattr(texthash, name) is not None for name in texthash.__all__} == dict.fromkeys(
        texthash.__all__, True
    )
    assert set(texthash.__all__) <= set(dir(texthash))
    with pytest.raises(AttributeError, match="no attribute 'hash'"):
        _ = texthash.hash
    assert texthash.methods.NASH is texthash.methods.get("nash")


@pytest.mark.parametrize(
    "module",
    [
        "texthash.corpora",
        "texthash.local.estimator",
        "texthash.local.evaluate",
        "texthash.local.index",
        "texthash.local.train",
        "texthash.methods",
    ],
)
def test_the_examples_run(module):
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted
    assert not found.failed


def test_a_path_in_place_of_a_name_is_told_how_it_is_given(tmp_path):
    with pytest.raises(UsageError) as refused:
        texthash.prepare(str(tmp_path / "rows.csv"))
    assert f"path='{tmp_path}/rows.csv'" in refused.value.remedy
