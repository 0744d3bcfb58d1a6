"""SSE and DSE: texts without a common word meet where their words share concepts, company or tags."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from texthash.config import CorpusConfig, Edition, SplitRule, TrainingConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.batches import Batch, batches, text_batch
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.methods.base import HashMethod, Progress
from texthash.methods.registry import build, get_method
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.training.loop import fit

BITS = 16
TOPICS = ("windows system update driver kernel software", "apple bread cheese butter recipe oven")
CLEAR = {"learning_rate": 0.01, "noise": 0.0, "masking": 0.0}
QUICK = TrainingConfig(epochs=40, batch_size=16)
NARROW = {"words": 40, "hidden": 12, "concept_count": 4, "concepts_each": 2}


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    """120 texts of four words of one of two topics."""
    folder = tmp_path_factory.mktemp("topics")
    rng = np.random.default_rng(0)
    rows = [f'{{"text": "{" ".join(rng.permutation(TOPICS[i % 2].split())[:4])}"}}\n' for i in range(120)]
    (folder / "texts.jsonl").write_text("".join(rows))
    edition = Edition(name="all", split=SplitRule(kind="random"), stop_words=None)
    config = CorpusConfig(name="topics", path=str(folder / "texts.jsonl"), edition=edition, shards=1)
    return PreparedCorpus.open(prepare_corpus(config, StateDir(folder / "home")))


def made(name: str, corpus: PreparedCorpus, **params: object) -> HashMethod:
    method = build(name, corpus.shape, BITS, {**NARROW, **params})
    method.learn_tables(corpus.train)
    return method.eval()


def of(corpus: PreparedCorpus, *texts: str) -> Batch:
    return text_batch(texts, corpus.analyzer, corpus.vocabulary)


@pytest.mark.parametrize("name", ["sse", "dse"])
def test_the_loss_of_even_odds_is_known(name: str, small_corpus: PreparedCorpus) -> None:
    method = made(name, small_corpus, masking=0.0)
    for parameter in method.parameters():
        torch.nn.init.zeros_(parameter)
    batch = next(iter(batches(small_corpus.train, 16, method.inputs)))
    loss = method.loss(batch, Progress(step=0, total=1, generator=torch.Generator().manual_seed(0)))
    width = method.x(batch).shape[1]
    assert width == 40 + 4 + method.extra
    assert loss["reconstruction"].item() == pytest.approx(width * math.log(2), rel=1e-5)


@pytest.mark.parametrize("name", ["sse", "dse"])
def test_the_extended_text_is_what_is_reconstructed(name: str, topics: PreparedCorpus) -> None:
    method = made(name, topics)
    x = method.x(next(iter(batches(topics.train, 64, method.inputs))))
    assert x.min() >= 0
    assert x.max() <= 1
    assert (x[:, method.read :].sum(dim=1) > 0).all()
    mean = torch.cat([method.x(b) for b in batches(topics.train, 64, method.inputs)]).mean(dim=0)
    torch.testing.assert_close(torch.sigmoid(method.layers.down[0]), mean.clamp(1e-4, 1 - 1e-4), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["sse", "dse"])
def test_texts_without_a_common_word_meet(name: str, topics: PreparedCorpus) -> None:
    method = made(name, topics)
    one, other, far = method.x(of(topics, "windows kernel", "driver software", "bread oven"))
    plain = made(name, topics, concept_weight=0.0, **{"company_weight" if name == "sse" else "tag_weight": 0.0})
    bare = plain.x(of(topics, "windows kernel", "driver software"))
    assert (bare[0] @ bare[1]).item() == 0
    assert (one @ other).item() > 2 * (one @ far).item()
    fitted = fit(build(name, topics.shape, BITS, {**NARROW, **CLEAR}), topics.train, QUICK).method
    hasher = Hasher.of(fitted, topics)
    codes = np.unpackbits(hasher.encode(["windows kernel", "driver software", "bread oven"]), axis=1).astype(int)
    assert np.abs(codes[0] - codes[1]).sum() < np.abs(codes[0] - codes[2]).sum()


@pytest.mark.parametrize("name", ["sse", "dse"])
def test_a_word_without_entries_leaves_the_text_as_it_is(name: str, topics: PreparedCorpus) -> None:
    method = made(name, topics)
    batch = of(topics, "bread oven apple", "bread oven")
    rare = int(set(batch.indices[:3].tolist()).difference(batch.indices[3:].tolist()).pop())
    tables = [method.concepts, *([method.words_beside] if name == "sse" else [])]
    for table in tables:
        table.weight[rare] = 0
    if name == "dse":
        method.tags[rare] = -1
    x = method.x(batch)
    place = method.places[rare]
    x[0, place] = x[1, place]
    torch.testing.assert_close(x[0], x[1])


@pytest.mark.parametrize("name", ["sse", "dse"])
def test_layers_are_learned_one_by_one(name: str, topics: PreparedCorpus) -> None:
    method = build(name, topics.shape, BITS, {**NARROW, **CLEAR})
    assert [stage.name for stage in method.stages()] == ["words and concepts", "layer 1", "layer 2", "layer 3", "train"]
    history = fit(method, topics.train, TrainingConfig(epochs=3, batch_size=16)).history
    first = [report.terms["layer"] for report in history if report.stage == "layer 1"]
    assert first[-1] < first[0]


def test_the_share_of_concepts_decides_which_tags_are_added(topics: PreparedCorpus) -> None:
    """By concepts a text without tags of its own gets those of its topic; by shared documents it gets none."""
    method = made("dse", topics, tag_count=6)
    batch = of(topics, "windows kernel")
    tags = [t for t in method.tags[batch.indices].tolist() if t >= 0]
    concepts = method.concepts_of(batch)
    for share in (0.0, 1.0):
        method.concept_share = share
        scores, own = method.scores(concepts, batch)
        assert own.sum().item() == len(tags)
        if share == 0:
            expected = method.correlation[tags].mean(dim=0) if tags else torch.zeros(6)
            torch.testing.assert_close(scores[0], expected)
        else:
            cosine = torch.nn.functional.cosine_similarity(concepts, method.tag_concepts)
            torch.testing.assert_close(scores[0], cosine, atol=1e-5, rtol=1e-4)
    without = replace(batch, indices=batch.indices[:0], offsets=batch.offsets * 0, values=batch.values[:0])
    method.concept_share = 0.0
    assert not method.scores(concepts, without)[0].any(), "no tag of its own: no document is shared"
    method.concept_share = 1.0
    assert method.scores(concepts, without)[0].any()


def test_labels_never_enter_the_input() -> None:
    for name in ("sse", "dse"):
        assert get_method(name).card.inputs_needed == frozenset()
