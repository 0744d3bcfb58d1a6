"""The category of each document as an attribute of an index: written by its model, whoever writes the documents."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import texthash
from tests.service.conftest import Asked, LocalEncoder, LocalWriter
from texthash.api.attributes import CATEGORY
from texthash.config import LimitsConfig, TrainingConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.deployment.code_exchange import export_codes, import_codes
from texthash.deployment.promote import promote, roll_back
from texthash.errors import UsageError
from texthash.index.filters.types import AttributeTypeError
from texthash.index.releases.backup import back_up, restore_backup
from texthash.index.releases.publish import publish
from texthash.index.releases.release import open_release, read_release
from texthash.index.releases.verify import verify
from texthash.index.writing.build import build_index
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.replicas.shard import ShardServer
from texthash.training.loop import fit

UNKNOWN = "zzzzqqqq"
SHORT = {"tower_width": 32, "tower_epochs": 1, "epochs": 1}


@pytest.fixture(scope="module")
def models(pair_corpus: PreparedCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Saved models of 16 bits: coshc with 5 categories, and dshc, which has none."""
    root = tmp_path_factory.mktemp("models")
    for name, more in (("coshc", {"categories": 5}), ("dshc", {"hidden": 16})):
        method = fit(build(name, pair_corpus.shape, 16, SHORT | more), pair_corpus.train, TrainingConfig()).method
        Hasher.of(method, pair_corpus).save(root / name)
    return root


@pytest.fixture(scope="module")
def released(models: Path, pair_corpus: PreparedCorpus, tmp_path_factory: pytest.TempPathFactory) -> StateDir:
    home = StateDir(tmp_path_factory.mktemp("released"))
    shutil.copytree(pair_corpus.path, home.corpus("pairs", "random60"))
    shutil.copytree(models, home.root / "models")
    model = home.root / "models" / "coshc"
    publish(home, model, build_index(model, pair_corpus.path, home, shards=2))
    return home


@pytest.fixture
def home(released: StateDir, tmp_path: Path) -> StateDir:
    return StateDir(Path(shutil.copytree(released.root, tmp_path / "home")))


def stored(home: StateDir) -> dict[str, dict[str, Any]]:
    opened = open_release(home)
    rows = [row for shard in opened.shards for row in shard.documents(shard.numbers, ["text", "attributes"])]
    return {row["id"]: row for row in rows}


def expected(home: StateDir) -> dict[str, str]:
    """The nearest mean of the document's tower, by the model itself."""
    hasher = read_release(home).open_hasher(home)
    rows = stored(home)
    read = hasher.read([row["text"] for row in rows.values()])
    found = zip(rows, read.categories.tolist(), read.known.tolist(), strict=True)
    assert all((category >= 0) == known for _, category, known in zip(rows, read.categories, read.known, strict=True))
    return {id_: str(category) for id_, category, known in found if known}


def categories(home: StateDir) -> dict[str, str]:
    found = {id_: row["attributes"].get(CATEGORY) for id_, row in stored(home).items()}
    return {id_: own for id_, own in found.items() if own is not None}


def put(home: StateDir, **attributes: Any) -> None:
    """Write a new document, one without a known word, and an old one in another form."""
    old = min(stored(home))
    texts = {"own/1": "sort the values of an array", "own/2": UNKNOWN, old: "read a csv file into a table"}
    documents = [IndexDocument(id_, text, attributes=attributes) for id_, text in texts.items()]
    read = read_release(home).open_hasher(home).read(list(texts.values()))
    hasher = read_release(home).open_hasher(home)
    with IndexWriter.open(home) as writer:
        codes = hasher.binarize(read.values)
        writer.upsert(documents, codes, known=read.known, categories=read.categories)


def test_a_built_index_has_the_category_of_each_document(home: StateDir) -> None:
    assert read_release(home).attributes == {CATEGORY: "string"}
    assert categories(home) == expected(home)
    assert len(set(categories(home).values())) > 1
    assert [finding for finding in verify(home) if not finding.ok] == []


def test_writes_compaction_snapshots_and_backups_keep_it(home: StateDir, tmp_path: Path) -> None:
    put(home, lang="en")
    assert categories(home) == expected(home)
    assert "own/2" not in categories(home)
    assert stored(home)["own/1"]["attributes"]["lang"] == "en"
    before = categories(home)
    with IndexWriter.open(home) as writer:
        writer.compact()
    assert categories(home) == before
    back_up(home, str(tmp_path / "backup"))
    other = StateDir(tmp_path / "other")
    restore_backup(other, str(tmp_path / "backup"))
    assert categories(other) == before


def test_a_value_that_is_given_is_replaced_and_one_of_another_type_refused(home: StateDir) -> None:
    put(home, **{CATEGORY: "mine"})
    assert categories(home) == expected(home)
    with pytest.raises(AttributeTypeError, match=f"attribute {CATEGORY}, which is a string in the index"):
        put(home, **{CATEGORY: 3.0})


def test_an_export_comes_back(home: StateDir, tmp_path: Path) -> None:
    before, file = categories(home), tmp_path / "codes.parquet"
    export_codes(home, file)
    with IndexWriter.open(home) as writer:
        writer.delete(ids=sorted(before)[:7])
    assert len(categories(home)) == len(before) - 7
    import_codes(home, file, lambda what: True)
    assert categories(home) == before


def test_it_follows_the_model(home: StateDir) -> None:
    """Gone with a model without categories, and back with the one that has them, for later documents too."""
    promote(home, home.root / "models" / "dshc")
    assert read_release(home).attributes == {}
    assert categories(home) == {}
    put(home, lang="en")
    roll_back(home)
    assert read_release(home).attributes == {CATEGORY: "string", "lang": "string"}
    assert "own/1" in categories(home)
    assert categories(home) == expected(home)


def test_documents_of_another_model_keep_an_attribute_of_that_name(
    home: StateDir, models: Path, pair_corpus: PreparedCorpus
) -> None:
    model = home.root / "models" / "dshc"
    publish(home, model, build_index(model, pair_corpus.path, home, shards=2))
    put(home, **{CATEGORY: 3.0})
    assert stored(home)["own/1"]["attributes"] == {CATEGORY: 3.0}
    with pytest.raises(UsageError, match=f"documents have an attribute {CATEGORY}, which an index of this model"):
        promote(home, home.root / "models" / "coshc")
    assert stored(home)["own/1"]["attributes"] == {CATEGORY: 3.0}


def test_a_corpus_with_an_attribute_of_that_name_is_refused(
    home: StateDir, models: Path, pair_corpus: PreparedCorpus, tmp_path: Path
) -> None:
    config = pair_corpus.manifest.config
    rows = [json.loads(line) for line in Path(str(config.path)).read_text(encoding="utf-8").splitlines()]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({**row, CATEGORY: "mine"}) + "\n" for row in rows), encoding="utf-8")
    own = config.derive(path=str(file), attributes=(CATEGORY,))
    prepared = prepare_corpus(own, StateDir(tmp_path / "prepared"))
    with pytest.raises(UsageError, match=f"documents have an attribute {CATEGORY}"):
        build_index(models / "coshc", prepared, home)


def test_the_service_writes_filters_and_counts_it(home: StateDir) -> None:
    root, release = str(home.root), read_release(home)
    shards = [ShardServer(root, release.name, number) for number in range(2)]
    coordinator = Coordinator(release, LimitsConfig(), LocalEncoder(root, release.name), shards)
    asked = Asked(
        make_app(coordinator, index_writes=IndexWriteService(home, coordinator, LocalWriter(root, "http://t")))
    )
    made = {"documents": [{"id": "own/1", "text": "sort the values of an array", "attributes": {"lang": "en"}}]}
    assert asyncio.run(asked.send("PUT", "/v1/documents?wait=true", json=made)).status_code == 200
    own = expected(home)
    assert asked.get("/v1/documents/own/1").json()["attributes"] == {"lang": "en", CATEGORY: own["own/1"]}
    assert asked.get("/v1/info").json()["index"]["attributes"] == {CATEGORY: "string", "lang": "string"}
    where = {"attributes": {CATEGORY: {"eq": own["own/1"]}}}
    kept = {id_ for id_, category in own.items() if category == own["own/1"]}
    reply = asked.search({"text": "sort an array"}, mode="semantic", limit=1000, filter=where).json()
    assert {hit["id"] for hit in reply["results"][0]["hits"]} == kept
    facet = asked.post("/v1/facets", {"facets": {CATEGORY: {}}}).json()["counts"][CATEGORY]
    assert {value["value"]: value["count"] for value in facet["values"]} == Counter(own.values())


def test_an_index_in_memory_has_it_too(models: Path, tmp_path: Path) -> None:
    model = texthash.load(models / "coshc")
    texts = ["sort the values of an array", "read a csv file into a table", UNKNOWN]
    index = texthash.Index(model, texts, attributes=[{"lang": "en"}, None, {CATEGORY: "mine"}])
    own = [str(category) for category in model.read(texts).categories[:2]]
    found = [document.attributes for document in index.get(["0", "1", "2"])]
    assert found == [{"lang": "en", CATEGORY: own[0]}, {CATEGORY: own[1]}, {}]
    index.upsert([texts[0]], ids=["1"])
    index.save(tmp_path / "saved")
    kept = texthash.Index.open(tmp_path / "saved")
    assert kept.count({"attributes": {CATEGORY: {"eq": own[0]}}}) == np.sum(np.array([own[0]] * 2) == own[0])
