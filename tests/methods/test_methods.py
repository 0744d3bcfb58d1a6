"""What every registered method has to do, checked on each of them, and a count so that none escapes."""

import copy
import json

import numpy as np
import pytest
import torch

from tests.methods.narrow import LEARNING, narrowed
from tests.methods.two_processes import corpus_for, shape_for
from texthash.config import MethodConfig, TrainingConfig
from texthash.corpora.prepared.batches import batches, text_batch
from texthash.errors import ModelMismatchError, UsageError
from texthash.hamming.codes import unpack
from texthash.index.memory.multi_index import MultiIndex
from texthash.methods.base import Card, GradientStage
from texthash.methods.registry import build, get_method, hyperparameters, methods
from texthash.models.encoding import activations_of, calibrate
from texthash.models.files import digest
from texthash.models.hasher import Hasher
from texthash.training.loop import fit
from texthash.tuning.spaces import starting_point

BITS = 16
SHORT = TrainingConfig(epochs=5, batch_size=64)
NAMES = sorted(methods())
ITERATIVE = [
    "ammi",
    "bmsh",
    "bpr",
    "bvae",
    "corrsh",
    "coshc",
    "cth",
    "daba",
    "dgm_sph",
    "dhim",
    "dhsh",
    "doc2hash",
    "doc2hash_s",
    "dse",
    "dshc",
    "dwae",
    "gmsh",
    "has",
    "hierhash",
    "ihdh",
    "lash",
    "mash",
    "mish",
    "nash",
    "nash_dn",
    "nash_dn_s",
    "nash_n",
    "nbrreg",
    "node2hash",
    "pairrec",
    "psh",
    "rbsh",
    "sapvae",
    "simex",
    "smash",
    "smash_s",
    "snuh",
    "ssbvae",
    "sse",
    "stacked_rbm",
    "texthash",
    "thc",
    "thc_s",
    "vdsh",
    "vdsh_pw",
    "vdsh_s",
    "vdsh_sp",
    "wish",
    "wish_s",
]
MEDIAN_CUT = [
    "cth",
    "gmsh",
    "hierhash",
    "mash",
    "nbrreg",
    "node2hash",
    "smash",
    "smash_s",
    "vdsh",
    "vdsh_pw",
    "vdsh_s",
    "vdsh_sp",
]


def test_no_method_escapes():
    assert NAMES == [
        "ammi",
        "bmsh",
        "bpr",
        "bvae",
        "corrsh",
        "coshc",
        "cth",
        "daba",
        "dgm_sph",
        "dhim",
        "dhsh",
        "doc2hash",
        "doc2hash_s",
        "dse",
        "dshc",
        "dwae",
        "gmsh",
        "has",
        "hierhash",
        "ihdh",
        "itq",
        "lash",
        "lsh",
        "mash",
        "mish",
        "nash",
        "nash_dn",
        "nash_dn_s",
        "nash_n",
        "nbrreg",
        "node2hash",
        "pairrec",
        "pcah",
        "psh",
        "rbsh",
        "sapvae",
        "sign",
        "simex",
        "smash",
        "smash_s",
        "snuh",
        "spectral_hashing",
        "ssbvae",
        "sse",
        "stacked_rbm",
        "sth",
        "texthash",
        "thc",
        "thc_s",
        "vdsh",
        "vdsh_pw",
        "vdsh_s",
        "vdsh_sp",
        "wish",
        "wish_s",
    ]


def narrow(name, shape, seed=0):
    """A method before training, none of its layers wider than need be."""
    return build(name, shape, BITS, narrowed(name, LEARNING), seed)


@pytest.fixture(scope="module")
def fitted(small_corpus, pair_corpus, encoded_shape):
    """Each method trained once, briefly: on pairs or with vectors too, where it learns from them."""
    trained = {}

    def get(name):
        if name not in trained:
            train = corpus_for(name, small_corpus).train
            trained[name] = fit(narrow(name, shape_for(name, small_corpus)), train, SHORT)
        return trained[name]

    return get


def decided_bits(hasher, texts):
    """Bits [N, bits] whose activation lies further from its threshold than sums of another order can move it."""
    activations = hasher.read(texts)[0]
    return np.abs(hasher.pre_threshold_margins(activations)) > 1e-5 + 1e-4 * activations.abs().numpy()


@pytest.mark.parametrize("name", NAMES)
class TestEveryMethod:
    def test_card_is_complete(self, name):
        card = get_method(name).card
        assert isinstance(card, Card)
        assert card.name == name
        assert card.title
        assert card.venue
        assert card.citation
        assert card.survey_entry is None or 1 <= card.survey_entry <= 36
        assert get_method(name).__doc__ or get_method(name).__module__.__doc__

    def test_search_space_names_hyperparameters(self, name):
        cls = get_method(name)
        assert set(cls.search_space) <= set(hyperparameters(name))
        method = MethodConfig(name=name, bits=BITS)
        assert not cls.search_space or starting_point(method, cls.search_space), "a default lies outside of its range"

    def test_unknown_hyperparameter_is_refused(self, name, encoded_shape):
        with pytest.raises(UsageError, match=r"^method\.params\.hiden=3: .* no hyper-parameter 'hiden'"):
            build(name, encoded_shape, BITS, {"hiden": 3})

    def test_seed_decides_the_initial_weights(self, name, encoded_shape):
        state = torch.random.get_rng_state()
        one, two = (narrow(name, encoded_shape, seed=3).state_dict() for _ in range(2))
        assert all(torch.equal(one[key], two[key]) for key in one)
        assert torch.equal(state, torch.random.get_rng_state())

    def test_encoding_is_deterministic_and_ignores_the_company(self, name, small_corpus, fitted):
        method = fitted(name).method
        split = small_corpus.validation
        inputs = method.encoding_inputs
        together, apart = (activations_of(method, batches(split, size, inputs)) for size in (256, 17))
        assert together.shape == (len(split), BITS)
        torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)

    def test_save_load_encode_search(self, name, small_corpus, fitted, tmp_path):
        hasher = Hasher.of(fitted(name).method, small_corpus)
        directory = hasher.save(tmp_path / "model")
        again = Hasher.load(directory)
        texts = small_corpus.validation.documents(64).__next__()["text"].to_pylist()
        codes = hasher.encode(texts)
        assert codes.dtype == np.uint8
        assert codes.shape == (len(texts), BITS // 8)
        decided = decided_bits(hasher, texts)
        assert decided.mean() > 0.9
        for other in (again.encode(texts, batch_size=7), again.encode_split(small_corpus.validation)[: len(texts)]):
            assert np.array_equal(unpack(codes)[decided], unpack(other)[decided])
        database = again.encode_split(small_corpus.train)
        hits = MultiIndex(database, np.arange(len(database))).search(database[:1], limit=3)
        assert hits.distances[0][0] == 0

    def test_documents_without_known_words_have_one_code(self, name, small_corpus, fitted):
        hasher = Hasher.of(fitted(name).method, small_corpus)
        word = small_corpus.vocabulary.terms[0]
        values, known, *_ = hasher.read(["", "zzzzqqqq xxyyzz", f"zzzzqqqq {word}", ""], batch_size=2)
        codes = hasher.binarize(values)
        if hasher.method.reads_features:  # a vector tells texts apart of which no word is known
            assert known.tolist() == [False, True, True, False]
        else:
            assert known.tolist() == [False, False, True, False]
            assert np.array_equal(codes[0], codes[1])
        assert np.array_equal(codes[0], codes[3])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ITERATIVE])
def test_a_seed_changes_what_is_random_alone(name, small_corpus, fitted):
    train, shape = small_corpus.train, shape_for(name, small_corpus)
    other = fit(narrow(name, shape, seed=1), train, SHORT.derive(seed=1)).method
    codes = [Hasher.of(method, small_corpus).encode_split(train) for method in (fitted(name).method, other)]
    assert np.array_equal(*codes) == (not get_method(name).card.random)


@pytest.mark.parametrize("name", MEDIAN_CUT)
def test_median_cuts_balance_the_training_documents(name, small_corpus, fitted):
    method = fitted(name).method
    share = method.binarizer(activations_of(method, batches(small_corpus.train, 256, method.inputs))).float().mean(0)
    assert (share - 0.5).abs().max() < 0.02


def test_the_methods_with_gradient_stages_and_median_cuts_are_those_tested_apart(encoded_shape):
    built = {name: build(name, encoded_shape, BITS) for name in NAMES}
    assert [n for n in NAMES if any(isinstance(s, GradientStage) for s in built[n].stages())] == ITERATIVE
    assert [n for n in NAMES if built[n].binarizer.needs_train] == MEDIAN_CUT
    assert all(get_method(n).card.random for n in ITERATIVE)


@pytest.mark.parametrize("name", ITERATIVE)
def test_training_lowers_the_loss(name, fitted):
    reports = [report for report in fitted(name).history if report.terms]
    terms = [report.terms for report in reports if report.stage == reports[-1].stage]
    first, last = (told.get("reconstruction", sum(told.values())) for told in (terms[0], terms[-1]))
    assert last < first


@pytest.mark.parametrize("name", ITERATIVE)
def test_every_parameter_is_trained(name, small_corpus, fitted, encoded_shape):
    before = dict(narrow(name, shape_for(name, small_corpus)).named_parameters())  # the seed decides them
    method = fitted(name).method
    after = {key: value for key, value in method.named_parameters() if key.split(".")[0] not in method.training_only}
    assert set(before) == set(after)
    assert [key for key, value in after.items() if torch.equal(before[key], value)] == []


@pytest.mark.parametrize("name", [n for n in NAMES if "dense" in get_method(n).card.inputs_needed])
def test_a_corpus_without_vectors_is_refused_where_they_are_needed(name, small_corpus):
    with pytest.raises(UsageError, match=f"{name} learns from vectors .* the corpus has none") as error:
        build(name, small_corpus.shape, BITS)
    assert "corpus.features" in error.value.remedy


def test_an_unknown_method_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'nash'"):
        get_method("nahs")


def without_digests(directory):
    """Make a saved model one of an earlier version, whose record has no digests."""
    record = json.loads((directory / "hasher.json").read_text())
    del record["files"], record["digest"]
    (directory / "hasher.json").write_text(json.dumps(record))


def test_a_model_whose_files_do_not_belong_together_is_refused(small_corpus, fitted, tmp_path):
    one = Hasher.of(fitted("lsh").method, small_corpus).save(tmp_path / "one")
    other = build("lsh", small_corpus.shape, 2 * BITS)
    two = Hasher.of(other, small_corpus).save(tmp_path / "two")
    assert digest(one) != digest(two)
    (one / "model.safetensors").write_bytes((two / "model.safetensors").read_bytes())
    with pytest.raises(ModelMismatchError, match=r"model\.safetensors is damaged, or of another model"):
        Hasher.load(one)
    without_digests(one)
    with pytest.raises(ModelMismatchError, match="do not fit lsh at 16 bits"):
        Hasher.load(one)
    (two / "vocabulary.json").unlink()
    with pytest.raises(ModelMismatchError, match=r"vocabulary\.json missing"):
        Hasher.load(two)


def test_a_damaged_model_is_an_error_that_names_the_directory(small_corpus, fitted, tmp_path):
    directory = Hasher.of(fitted("lsh").method, small_corpus).save(tmp_path / "model")
    weights, record = directory / "model.safetensors", directory / "hasher.json"
    weights.write_bytes(weights.read_bytes()[:-100])
    without_digests(directory)
    with pytest.raises(ModelMismatchError, match=r"model: the weights do not fit lsh at 16 bits"):
        Hasher.load(directory)
    record.write_text(record.read_text()[:-20])
    with pytest.raises(ModelMismatchError, match=r"hasher\.json is broken"):
        Hasher.load(directory)


def test_tied_weights_are_saved(small_corpus, fitted, tmp_path):
    hasher = Hasher.of(copy.deepcopy(fitted("vdsh").method), small_corpus)
    hasher.method.log_variance.weight = hasher.method.mean.weight
    texts = ["linear regression of an array", "plot a figure"]
    assert np.array_equal(Hasher.load(hasher.save(tmp_path / "model")).encode(texts), hasher.encode(texts))


def test_calibration_sees_the_training_documents_only(small_corpus):
    method = build("vdsh", small_corpus.shape, BITS)
    calibrate(method, small_corpus.train)
    expected = activations_of(method, batches(small_corpus.train, 64, method.inputs)).median(dim=0).values
    torch.testing.assert_close(method.binarizer.thresholds, expected, rtol=1e-4, atol=1e-5)


def test_raw_text_and_prepared_rows_give_the_same_batch(small_corpus):
    table = next(small_corpus.train.documents(8))
    raw = text_batch(table["text"].to_pylist(), small_corpus.analyzer, small_corpus.vocabulary)
    prepared = next(iter(batches(small_corpus.train, 8)))
    assert torch.equal(raw.indices, prepared.indices[: len(raw.indices)])
    torch.testing.assert_close(raw.values, prepared.values[: len(raw.values)])
