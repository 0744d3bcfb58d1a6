"""The editions in configs/, prepared from the real corpus and held against scikit-learn."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from texthash.config import load_config
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.readers import newsgroups20
from texthash.paths import StateDir

CONFIGS = Path(__file__).parents[2] / "configs"


def test_bydate_stripped_has_its_counts_and_the_vectors_of_scikit_learn(corpora_at_hand: Path, tmp_path: Path) -> None:
    path = CONFIGS / "20newsgroups-bydate-stripped.yaml"
    config = load_config(path, [f"corpus.data_dir={corpora_at_hand}"]).corpus
    corpus = PreparedCorpus.open(prepare_corpus(config, StateDir(tmp_path)))
    assert corpus.manifest.documents == {"train": 10_257, "validation": 3_397, "test": 3_415}
    assert sum(corpus.manifest.dropped.values()) == 18_846 - 10_257 - 3_397 - 3_415
    assert corpus.manifest.edition == "bydate-stripped"

    messages = {m.id: m.text for m in newsgroups20.read(config, StateDir(tmp_path)) if m.text.strip()}
    train = [text for id_, text in messages.items() if id_.startswith("train/")]
    theirs = TfidfVectorizer(stop_words="english", max_features=10_000, min_df=3, max_df=0.8).fit(train)
    assert theirs.get_feature_names_out().tolist() == corpus.vocabulary.terms
    for split in (corpus.train, corpus.validation):
        expected = theirs.transform([messages[id_] for id_ in split.ids])
        assert abs(expected - split.matrix()).max() < 1e-6
    lengths = corpus.train.matrix("counts").sum(axis=1)
    assert (lengths.min(), lengths.max()) == (6, 500)


@pytest.mark.parametrize("name", ["20newsgroups-random60", "20newsgroups-bydate-stripped", "own-corpus"])
def test_every_corpus_configuration_loads(name: str) -> None:
    assert load_config(CONFIGS / f"{name}.yaml").corpus.edition.name in (name.removeprefix("20newsgroups-"), "v1")
