"""An embedder behind HTTP, against a real server that is slow, busy, broken or wrong."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from texthash.config import CorpusConfig, Edition, SplitRule, TrainingConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.embeddings import http_embedder
from texthash.corpora.prepared.embeddings.cache import ensure_features
from texthash.corpora.prepared.embeddings.http_embedder import EmbedderError, HttpEmbedder
from texthash.errors import UsageError
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.training.loop import fit

WIDTH = 12
KEY = "hf_a-secret-key"


def vector_of(text: str) -> list[float]:
    letters = np.bincount([ord(letter) % WIDTH for letter in text], minlength=WIDTH)
    return (letters + 0.25).tolist()


class Server(ThreadingHTTPServer):
    """Answers rightly, but for the next requests what ``plan`` says: a status, seconds of sleep, or a change."""

    plan: list[Any]
    asked: list[tuple[str, dict[str, str], dict[str, Any]]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, dict(self.headers), body))
        step = self.server.plan.pop(0) if self.server.plan else None
        if isinstance(step, int):
            return self.reply(step, {"error": f"no {self.headers['authorization']}"})
        if isinstance(step, float):
            time.sleep(step)
        texts = body["inputs"] if self.path == "/embed" else body["input"]
        vectors = [vector_of(text) for text in texts]
        vectors = step(vectors) if callable(step) else vectors
        if step == "drip":
            return self.drip()
        if self.path == "/embed":
            return self.reply(200, vectors)
        rows = [{"index": place, "embedding": vector} for place, vector in enumerate(vectors)]
        return self.reply(200, {"data": rows[::-1]})

    def reply(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # the client gave up
            self.wfile.write(content)

    def drip(self) -> None:
        """Send a byte every 50 ms, for at most 5 s."""
        self.send_response(200)
        self.send_header("content-length", "100")
        self.end_headers()
        with contextlib.suppress(OSError):  # the client gave up
            for _ in range(100):
                self.wfile.write(b" ")
                time.sleep(0.05)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http_embedder, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setenv("EMBEDDER_KEY", KEY)
    with Server(("127.0.0.1", 0), Handler) as found:
        found.plan, found.asked = [], []
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def names(server: Server) -> dict[str, str]:
    url = f"http://127.0.0.1:{server.server_port}"
    return {
        "openai": f"openai:small@{url}/v1#EMBEDDER_KEY",
        "plain": f"{url}/v1/embeddings",
        "tei": f"tei:{url}",
    }


TEXTS = [f"text number {number}" for number in range(70)]
EXPECTED = np.array([vector_of(text) for text in TEXTS], np.float32)


@pytest.mark.parametrize("form", ["openai", "plain", "tei"])
def test_texts_become_their_vectors_in_their_order(server: Server, form: str) -> None:
    embedder = HttpEmbedder(names(server)[form])
    np.testing.assert_array_equal(embedder.encode(TEXTS), EXPECTED)
    assert len(server.asked) == 3  # in batches
    path, headers, body = server.asked[0]
    assert path == ("/embed" if form == "tei" else "/v1/embeddings")
    assert body.get("model") == ("small" if form == "openai" else None)
    assert {key.lower(): value for key, value in headers.items()}.get("authorization") == (
        f"Bearer {KEY}" if form == "openai" else None
    )
    np.testing.assert_array_equal(embedder.encode(["a", " "]), [vector_of("a"), [0] * WIDTH])
    assert HttpEmbedder(names(server)[form]).width == WIDTH
    assert embedder.encode([]).shape == (0, WIDTH)


@pytest.mark.parametrize("plan", [[429], [500, 503], [429, 502, 504, 500, 429], [1.0], [0.0, 408]])
def test_a_busy_failing_or_slow_server_is_asked_again(server: Server, plan: list[Any]) -> None:
    embedder = HttpEmbedder(names(server)["openai"], timeout_s=0.4)
    server.plan = plan.copy()
    np.testing.assert_array_equal(embedder.encode(TEXTS[:5]), EXPECTED[:5])
    assert server.plan in ([], [408])


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda vectors: vectors[:-1], "gave 4 vectors for 5 texts"),
        (lambda vectors: [*vectors, vectors[0]], "gave 6 vectors for 5 texts"),
        (lambda vectors: [*vectors[:-1], vectors[0][:3]], "gave no vectors"),
        (lambda vectors: [row[:7] for row in vectors], "gave vectors of 7 numbers, and of 12 before"),
        (lambda vectors: [*vectors[:-1], [float("nan")] * WIDTH], "gave a vector that has nan at position 0"),
        (lambda vectors: [*vectors[:-1], [0.0] * WIDTH], "gave a vector that is zero"),
        (lambda vectors: [["a"] * WIDTH for _ in vectors], "gave no vectors"),
        (400, r"answered 400: .*Bearer \*\*\*"),
        (401, "answered 401"),
    ],
)
@pytest.mark.parametrize("form", ["openai", "tei"])
def test_a_wrong_answer_is_refused_at_once(server: Server, form: str, step: Any, message: str) -> None:
    embedder = HttpEmbedder(names(server)[form])
    embedder.encode(TEXTS[:1])
    server.plan = [step]
    message = message.replace(r".*Bearer \*\*\*", "") if form == "tei" else message
    with pytest.raises(EmbedderError, match=message) as error:
        embedder.encode(TEXTS[:5])
    assert KEY not in f"{error.value}{error.value.remedy}"
    assert len(server.asked) == 2


def test_an_answer_has_a_bound(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = HttpEmbedder(names(server)["tei"])
    embedder.encode(TEXTS[:1])
    monkeypatch.setattr(http_embedder, "_MOST_BYTES", 500)
    with pytest.raises(EmbedderError, match="gave more than 500 bytes"):
        embedder.encode(TEXTS[:32])
    assert len(server.asked) == 2


@pytest.mark.parametrize("key", ["line\nbreak", "ends \r\n", "two words", "k\u00e9y"])
def test_a_key_that_no_header_can_have_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("EMBEDDER_KEY", key)
    with pytest.raises(UsageError, match="EMBEDDER_KEY holds no key") as error:
        HttpEmbedder("openai:small@http://127.0.0.1:1/v1#EMBEDDER_KEY")
    assert key not in f"{error.value}{error.value.remedy}"


def test_an_answer_that_comes_byte_by_byte_has_a_time_limit(server: Server) -> None:
    server.plan = ["drip"] * 2
    began = time.monotonic()
    with pytest.raises(EmbedderError, match=r"did not answer in 2 attempts \(ReadTimeout\)"):
        HttpEmbedder(names(server)["tei"], timeout_s=0.3, attempts=2).encode(["a"])
    assert time.monotonic() - began < 3
    server.plan = ["drip"]
    np.testing.assert_array_equal(HttpEmbedder(names(server)["tei"], timeout_s=0.3).encode(["a"]), [vector_of("a")])


def test_a_server_that_stays_away_is_given_up(server: Server) -> None:
    server.plan = [503] * 3
    with pytest.raises(EmbedderError, match=r"did not answer in 3 attempts \(status 503\)"):
        HttpEmbedder(names(server)["tei"], attempts=3).encode(["a"])
    with pytest.raises(EmbedderError, match=r"did not answer in 2 attempts \(ConnectError\)"):
        HttpEmbedder("tei:http://127.0.0.1:1", attempts=2).encode(["a"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("openai:small@https://host/v1#hf_a_secret", "not the name of an environment variable"),
        ("openai:small@https://host/v1#sk-secret", "not the name of an environment variable"),
        ("openai:small@https://me:secret@host/v1", "has a user or a query"),
        ("tei:https://host?key=secret", "has a user or a query"),
        ("openai:https://host/v1", "names no embedder"),
        ("openai:small@ftp://host", "names no embedder"),
        ("tei:", "names no embedder"),
        ("openai:small@https://host/v1#NO_SUCH_VARIABLE", "the environment has no NO_SUCH_VARIABLE"),
    ],
)
def test_addresses_that_cannot_be_are_refused_without_a_secret(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        HttpEmbedder(name)
    assert "secret" not in f"{error.value}{error.value.remedy}"


def test_a_model_encodes_texts_through_its_embedder(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(TEXTS)))
    config = CorpusConfig(name="own", path=str(rows), edition=Edition(split=SplitRule(kind="random")), shards=1)
    corpus = PreparedCorpus.open(prepare_corpus(config, StateDir(tmp_path / "home")))
    name = names(server)["openai"]
    server.plan = [429]
    assert ensure_features(corpus, name) == name
    asked = len(server.asked)
    assert ensure_features(corpus, name) == name
    assert len(server.asked) == asked  # they are stored
    stored = np.concatenate([corpus.split(split).dense(name) for split in ("train", "validation", "test")])
    assert sorted(map(tuple, stored.tolist())) == sorted(map(tuple, EXPECTED.tolist()))
    method = build("itq", corpus.shape_with(name), 8, {"input": "features"})
    saved = Hasher.of(fit(method, corpus.train, TrainingConfig()).method, corpus).save(tmp_path / "model")
    hasher = Hasher.load(saved)
    np.testing.assert_array_equal(hasher.encode(TEXTS, role="query"), hasher.encode_vectors(EXPECTED))
    hasher.warm_up()
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in content for content in written)
    assert KEY not in "".join(capfd.readouterr())
