"""What tests of all rooms share: a small real corpus, the corpora at hand, a local Ray cluster."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from tests.documentation import kept_documentation
from texthash.cli import main
from texthash.config import CorpusConfig, Edition, SplitRule, TrainingConfig
from texthash.corpora.document import Document
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import CorpusShape, PreparedCorpus
from texthash.logging import show
from texthash.paths import StateDir

pytest_plugins = ("tests.garbage", "tests.time_limits", "tests.parts", "tests.prepared_store")

# No deadline for one example: the first one may compile or import, and other work shares the machine.
settings.register_profile("texthash", deadline=None)
settings.load_profile("texthash")

# Servers that tests start keep runs, and need no processes for MLflow's jobs, whose start takes most of theirs.
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")

DATA = Path(os.environ.get("TEXTHASH_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
VECTORS = "column:embedding"
_PER_LABEL = 190
_LABELS = 8


show()  # as in every program of texthash


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs one command; gives its exit status, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err

    return run


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves plots of reports empty, which take a second of each training to draw; tests of reports look at them."""
    monkeypatch.setattr("texthash.reporting.page.png", lambda figure: b"")


@pytest.fixture(scope="session")
def corpora_at_hand() -> Path:
    """The folder of real corpora; tests that need it are skipped where it is absent."""
    if not (DATA / "20newsgroups.jsonl.gz").is_file():
        pytest.skip(f"no corpora in {DATA}: set TEXTHASH_TEST_DATA to a folder with 20newsgroups.jsonl.gz")
    return DATA


@pytest.fixture(scope="session")
def kept_between_runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of what takes long to make and is the same in each run."""
    cache = getattr(request.config, "cache", None)
    return cache.mkdir("texthash") if cache else tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="session")
def small_documents(kept_between_runs: Path) -> list[Document]:
    """About 1,500 documentation strings of scipy, scikit-learn and pandas under 8 labels."""
    return kept_documentation(kept_between_runs, ("pandas", "scipy", "sklearn"), _LABELS, _PER_LABEL)


@pytest.fixture(scope="session")
def small_rows(small_documents: list[Document], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a JSONL file."""
    path = tmp_path_factory.mktemp("rows") / "small.jsonl"
    rows = [{"id": d.id, "text": d.text, "labels": d.labels, "title": d.title} for d in small_documents]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def small_config(small_rows: Path) -> CorpusConfig:
    edition = Edition(name="random60", split=SplitRule(kind="random"), vocabulary_size=2000)
    return CorpusConfig(name="small", path=str(small_rows), edition=edition, shards=2)


@pytest.fixture(scope="session")
def small_corpus(small_config: CorpusConfig, tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    """A small real corpus, prepared: about 900/300/300 documents, 8 labels, 2,000 words."""
    return PreparedCorpus.open(prepare_corpus(small_config, StateDir(tmp_path_factory.mktemp("home"))))


@pytest.fixture(scope="session")
def encoded_shape(small_corpus: PreparedCorpus, tmp_path_factory: pytest.TempPathFactory) -> CorpusShape:
    """The shape of the small corpus with vectors of a small random sentence encoder, which knows 300 of its words."""
    from tests.corpora.embeddings.conftest import save_transformer
    from texthash.corpora.prepared.embeddings.cache import ensure_features

    known = tuple(word for word in small_corpus.vocabulary.terms if word.isalpha())[:300]
    folder = save_transformer(tmp_path_factory.mktemp("encoders") / "random", 16, known)
    encoder = ensure_features(small_corpus, str(folder))
    small_corpus.train.token_vectors(encoder)  # so that no other process of a test loads the encoder
    return small_corpus.shape_with(encoder)


@pytest.fixture(scope="session")
def vector_rows(small_documents: list[Document], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same documents as Parquet with a column ``embedding`` of 24 numbers, which tell the labels apart."""
    rng = np.random.default_rng(0)
    labels = sorted({label for document in small_documents for label in document.labels})
    centres = dict(zip(labels, rng.standard_normal((len(labels), 24)), strict=True))
    noise = rng.standard_normal((len(small_documents), 24))
    vectors = [centres[d.labels[0]] + row + 0.5 for d, row in zip(small_documents, noise, strict=True)]
    table = pa.table(
        {
            "id": [d.id for d in small_documents],
            "text": [d.text for d in small_documents],
            "title": [d.title for d in small_documents],
            "labels": [list(d.labels) for d in small_documents],
            "embedding": pa.array([row.astype(np.float32) for row in vectors], pa.list_(pa.float32())),
        }
    )
    path = tmp_path_factory.mktemp("vectors") / "rows.parquet"
    pq.write_table(table, path, row_group_size=400)
    return path


@pytest.fixture(scope="session")
def vector_corpus(vector_rows: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    """The small corpus, prepared with the vectors of its column."""
    from texthash.corpora.prepared.embeddings.cache import ensure_features

    edition = Edition(name="random60", split=SplitRule(kind="random"), vocabulary_size=2000)
    config = CorpusConfig(name="vectors", path=str(vector_rows), edition=edition, shards=2)
    corpus = PreparedCorpus.open(prepare_corpus(config, StateDir(tmp_path_factory.mktemp("vector-home"))))
    assert ensure_features(corpus, VECTORS) == VECTORS
    return corpus


@pytest.fixture(scope="session")
def vector_hasher(vector_corpus: PreparedCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved 16-bit model (ITQ) of the vectors of that corpus."""
    from texthash.methods.registry import build
    from texthash.models.hasher import Hasher
    from texthash.training.loop import fit

    untrained = build("itq", vector_corpus.shape_with(VECTORS), 16, {"input": "features"})
    method = fit(untrained, vector_corpus.train, TrainingConfig()).method
    return Hasher.of(method, vector_corpus).save(tmp_path_factory.mktemp("models") / "vectors-itq-16")


@pytest.fixture(scope="session")
def small_hasher(small_corpus: PreparedCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved 32-bit model (ITQ) fitted on the small corpus."""
    from texthash.methods.registry import build
    from texthash.models.hasher import Hasher
    from texthash.training.loop import fit

    method = fit(build("itq", small_corpus.shape, 32), small_corpus.train, TrainingConfig()).method
    return Hasher.of(method, small_corpus).save(tmp_path_factory.mktemp("models") / "itq-32")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """A local Ray of 2 CPUs for the whole session."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_metrics_report_interval_ms", "2000")  # five times as often, to wait less
    import ray

    temporary = tempfile.mkdtemp(prefix="th", dir="/tmp")  # socket paths have to be short
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=300_000_000,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=temporary,
    )
    yield ray
    ray.shutdown()
    shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture(scope="session")
def pair_rows(small_documents: list[Document], small_rows: Path) -> Path:
    """The rows of the small corpus with questions: the title of a document, and of every third its last words."""
    path = small_rows.with_name("pairs.jsonl")
    with path.open("w", encoding="utf-8") as file:
        for number, document in enumerate(small_documents):
            ending = [" ".join(document.text.split()[-8:])] if number % 3 == 0 else []
            row = {"id": document.id, "text": document.text, "labels": document.labels, "title": document.title}
            file.write(json.dumps({**row, "queries": [document.title, *ending]}) + "\n")
    return path


@pytest.fixture(scope="session")
def pair_corpus(small_config: CorpusConfig, small_corpus: PreparedCorpus, pair_rows: Path) -> PreparedCorpus:
    """The small corpus with questions: the same documents, splits, words and labels, prepared beside it."""
    home = StateDir(small_corpus.path.parents[2])
    config = small_config.derive(name="pairs", path=str(pair_rows))
    return PreparedCorpus.open(prepare_corpus(config, home))
