"""Corpora of experiments: the one that a configuration needs, and the one that a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence

from texthash.config import Config
from texthash.corpora.document import SPLITS
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.inputs import VECTORS
from texthash.corpora.prepared.sample import learning_from
from texthash.errors import ModelMismatchError, UsageError
from texthash.executor import Executor, LocalExecutor
from texthash.experiments.trained_models import TrainedModel
from texthash.methods.registry import get_method
from texthash.paths import StateDir
from texthash.tracking import data_digest


def prepare(config: Config, home: StateDir, *, executor: Executor = LocalExecutor()) -> PreparedCorpus:
    """Prepare a corpus unless it is prepared, and return it.

    If ``corpus.features`` names a source of vectors, they are computed or read too: of all documents, of those of the
    training split, or of those of them that are learned from (``training.documents``).

    Raises:
        UsageError: ``corpus.features_of`` leaves out documents whose vectors the method reads, or the method needs all
            training documents and ``training.documents`` leaves out some.
    """
    from texthash.corpora.preparation.steps import prepare_corpus

    of = _splits_with_vectors(config)
    if config.training.documents is not None and get_method(config.method.name).keeps_codes():
        raise UsageError(
            f"training.documents={config.training.documents}: {config.method.name} keeps codes of all training "
            "documents.",
            "leave it null, or choose another method.",
        )
    corpus = PreparedCorpus.open(prepare_corpus(config.corpus, home, executor))
    learned = learning_from(corpus, config.training.documents)
    if config.corpus.features:
        from texthash.corpora.prepared.embeddings.cache import ensure_features

        for one in (learned,) if of == ("train",) else (corpus, learned):
            ensure_features(one, config.corpus.features, executor, of)
    return corpus


def _splits_with_vectors(config: Config) -> Sequence[str]:
    if config.corpus.features_of == "all":
        return SPLITS
    method = config.method
    if VECTORS & get_method(method.name).card.inputs_needed or method.params.get("input", "words") != "words":
        raise UsageError(
            f"corpus.features_of={config.corpus.features_of}: {method.name} reads the vectors of all that it encodes.",
            "set corpus.features_of=all; or let the method read words, if it has a hyper-parameter input.",
        )
    if config.index.vectors == "features":
        raise UsageError(
            f"corpus.features_of={config.corpus.features_of}: index.vectors=features stores those of all documents.",
            "set corpus.features_of=all, or index.vectors=null.",
        )
    return (config.corpus.features_of,)


def corpus_of(model: TrainedModel, home: StateDir) -> PreparedCorpus:
    """Return the prepared corpus that a model was trained on.

    Raises:
        TexthashError: The corpus no longer exists, or has changed.
    """
    corpus = PreparedCorpus.open(home.corpus(*model.edition))
    if data_digest(corpus) != model.data:
        raise ModelMismatchError(
            f"{model.name} was trained on data {model.data}, {corpus.path} holds {data_digest(corpus)}.",
            "train the model again on the current corpus.",
        )
    return corpus
