"""Training on some of the training documents."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.preprocessing import normalize

from texthash.config import Config, TrainingConfig
from texthash.corpora.prepared.embeddings.cache import ensure_features
from texthash.corpora.prepared.sample import learning_from
from texthash.errors import CorpusError, UsageError
from texthash.experiments import corpora
from texthash.methods.registry import build
from texthash.models.encoding import encode_split
from texthash.training.loop import fit

COUNT = 100


@pytest.fixture(scope="module")
def sample(small_corpus):
    return learning_from(small_corpus, COUNT)


def test_a_sample_has_the_rows_of_evenly_spaced_documents(small_corpus, sample):
    train, whole = sample.train, small_corpus.train
    rows = sample.rows
    assert (rows[0], rows[-1]) == (0, len(whole) - 1)
    assert set(np.diff(rows)) <= {len(whole) // COUNT, len(whole) // COUNT + 1}
    assert len(train) == sample.shape.documents == train.shape.documents == COUNT
    assert train.ids == [whole.ids[row] for row in rows]
    assert [text for table in train.documents(64) for text in table["id"].to_pylist()] == train.ids
    assert (train.matrix("bm25") != whole.matrix("bm25")[rows]).nnz == 0
    assert (train.labels != whole.labels[rows]).nnz == 0
    tokens = [np.split(values, indptr[1:-1]) for indptr, values in (train.tokens, whole.tokens)]
    assert all(np.array_equal(one, tokens[1][row]) for one, row in zip(tokens[0], rows, strict=True))
    assert pickle.loads(pickle.dumps(train)).ids == train.ids
    assert pickle.loads(pickle.dumps(sample)).train.ids == train.ids


def test_its_neighbours_are_of_the_sample(sample):
    rows, weights = sample.train.neighbours(5)
    words = normalize(sample.train.matrix("bm25"))
    cosine = (words @ words.T).toarray()
    np.fill_diagonal(cosine, -1)
    np.testing.assert_allclose(weights, np.sort(cosine, axis=1)[:, :-6:-1], rtol=1e-5)
    assert rows.max() < COUNT


def test_all_other_documents_are_as_they_were(small_corpus, sample):
    assert sample.validation.ids == small_corpus.validation.ids
    assert sample.vocabulary.hash == small_corpus.vocabulary.hash


@pytest.mark.parametrize("count", [None, 10**6])
def test_no_sample_where_all_are_learned_from(small_corpus, count):
    assert learning_from(small_corpus, count) is small_corpus


def test_vectors_are_taken_from_the_whole_corpus_where_they_are_stored(small_corpus, encoded_shape):
    folder = encoded_shape.encoder.rpartition("@")[0]
    alone = learning_from(small_corpus, 60)
    ensure_features(alone, folder)
    taken = small_corpus.train.dense(encoded_shape.encoder)[alone.rows]
    np.testing.assert_array_equal(alone.train.dense(encoded_shape.encoder), taken)
    method = build("itq", alone.shape_with(folder), 8, {"teacher": "features"})
    fitted = fit(method, alone.train, TrainingConfig()).method
    assert encode_split(fitted, small_corpus.train).shape == (len(small_corpus.train), 1)
    with pytest.raises(CorpusError, match="no sentence vectors"):
        alone.validation.dense(folder)


def test_a_method_learns_from_the_sample_as_from_a_corpus_of_its_own(small_corpus, sample):
    def trained(train, shape):
        method = build("texthash", shape, 16, {"neighbours": 10}, seed=1)
        return fit(method, train, TrainingConfig(epochs=2, seed=1)).method

    one = trained(sample.train, sample.shape)
    other = trained(pickle.loads(pickle.dumps(sample.train)), sample.shape)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    assert one.memory.signs.shape[0] == COUNT


def test_what_needs_all_training_documents_is_refused_before_any_work(pair_corpus, tmp_path):
    with pytest.raises(UsageError, match="pair corpus"):
        learning_from(pair_corpus, 10)
    config = Config().derive(method={"name": "sth"}, training={"documents": 10})
    with pytest.raises(UsageError, match="sth keeps codes"):
        corpora.prepare(config, tmp_path)
