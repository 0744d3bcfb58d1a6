"""Saved models of which a bit was flipped, by every way in which a model is opened."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import texthash
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import ModelMismatchError
from texthash.io.digests import size_and_sha256
from texthash.io.records import sealed
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.models.query_encoder import QueryEncoder
from texthash.tracking.pyfunc_model import TextEncoder

OPEN: list[Callable[[Path], object]] = [
    Hasher.load,
    QueryEncoder.open,
    texthash.load,
    lambda path: TextEncoder(str(path)),
]


def flip(path: Path, byte: int) -> None:
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def saved(small_corpus: PreparedCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    method = build("pcah", small_corpus.shape, 16)
    return Hasher.of(method, small_corpus).save(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


@pytest.mark.parametrize("opened", OPEN)
@pytest.mark.parametrize("name", ["model.safetensors", "vocabulary.json"])
def test_a_flipped_bit_is_named_with_file_digests_and_remedy(
    model: Path, name: str, opened: Callable[[Path], object]
) -> None:
    size = (model / name).stat().st_size
    expected = json.loads((model / "hasher.json").read_text())["files"][name]
    for byte in (20, size // 2, size - 3):
        flip(model / name, byte)
        with pytest.raises(ModelMismatchError) as raised:
            opened(model)
        assert f"{model / name} is damaged" in raised.value.problem
        assert expected in raised.value.problem
        assert "restore" in raised.value.remedy
        flip(model / name, byte)
    opened(model)


def test_no_flipped_bit_of_the_record_is_read(model: Path) -> None:
    record = model / "hasher.json"
    content = record.read_bytes()
    expected = Hasher.load(model).encode(["sort an array"])
    wrong = []
    for byte in range(0, len(content), 7):
        flip(record, byte)
        with suppress(ModelMismatchError):
            found = Hasher.load(model)
            # Only white space between members may be read as other white space.
            wrong += [] if content[byte] in b" \n" else [byte]
            assert np.array_equal(found.encode(["sort an array"]), expected)
        record.write_bytes(content)
    assert wrong == []


def test_a_cut_model_and_one_that_is_saved_again_have_digests_of_their_own(model: Path, tmp_path: Path) -> None:
    for name, hasher in (("cut", Hasher.load(model).cut(8)), ("again", Hasher.load(model))):
        saved = hasher.save(tmp_path / name)
        texthash.load(saved)
        flip(saved / "model.safetensors", os.path.getsize(saved / "model.safetensors") - 3)
        with pytest.raises(ModelMismatchError, match=r"model\.safetensors is damaged"):
            texthash.load(saved)


def test_a_model_of_an_earlier_version_opens_without_digests(model: Path) -> None:
    record = json.loads((model / "hasher.json").read_text())
    del record["files"], record["digest"]
    (model / "hasher.json").write_text(json.dumps(record))
    assert np.array_equal(
        texthash.load(model).encode(["sort an array"]), QueryEncoder.open(model).read(["sort an array"]).codes
    )


@pytest.mark.parametrize(
    "encode", [lambda path: Hasher.load(path).encode(["a"]), lambda path: texthash.load(path).encode(["a"])]
)
def test_a_model_with_a_weight_that_is_no_number_is_refused(model: Path, encode: Callable[[Path], object]) -> None:
    with safe_open(model / "model.safetensors", framework="np") as file:
        described = file.metadata()  # also of the encoder of queries without torch
    weights = load_file(model / "model.safetensors")
    name = next(name for name, values in weights.items() if values.dtype == np.float32)
    weights[name].flat[0] = np.nan
    save_file(weights, model / "model.safetensors", described)
    record = json.loads((model / "hasher.json").read_text(encoding="utf-8"))
    del record["digest"]
    record["files"]["model.safetensors"] = size_and_sha256(model / "model.safetensors")[1]
    (model / "hasher.json").write_text(json.dumps(sealed(record)), encoding="utf-8")
    with pytest.raises(ModelMismatchError, match=f"1 of the weights {name} are not a number"):
        encode(model)
