"""Training on texts and vectors in memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from texthash.arguments import is_between, shown
from texthash.config import (
    CorpusConfig,
    Edition,
    EvaluationConfig,
    MethodConfig,
    SplitRule,
    TrainingConfig,
    parse_section,
)
from texthash.corpora.prepared.embeddings.checks import as_vectors
from texthash.errors import UsageError
from texthash.local.models import check_edition
from texthash.local.texts import as_labels, as_texts

if TYPE_CHECKING:
    from texthash.corpora.prepared.corpus import PreparedCorpus
    from texthash.models.hasher import Hasher

_LEAST, _LEAST_HELD = 3, 10
_K = 100
_NAME = "texts"
_ONLY_VECTORS = "vector"


def train(
    method: str,
    texts: Iterable[str] | None = None,
    *,
    vectors: Any = None,
    bits: int = 32,
    labels: Iterable[Any] | None = None,
    queries: Iterable[Any] | None = None,
    params: Mapping[str, Any] | None = None,
    validation: float = 0.1,
    epochs: int | None = None,
    batch_size: int | None = None,
    patience: int | None = None,
    seed: int = 0,
    edition: Edition | None = None,
) -> Hasher:
    """Train a hashing method on texts, on vectors of your own, or on both, in this process.

    Args:
        method: Name of a method, such as ``nash`` (learned without labels), ``vdsh_s`` (with labels) or ``itq``
            (closed form, seconds); ``texthash.methods.names()`` lists them.
        texts: N documents: a list, a column of a table, or a table with a column ``text``.
        vectors: Vectors of the documents by any embedder, numbers [N, D], in the order of the texts; texts may then be
            left out. Methods with a hyper-parameter ``input``, such as ``itq`` and ``texthash``, learn from them: with
            ``vectors`` it is ``features`` unless ``params`` sets it, as ``params={"input": "both"}`` does.
        bits: Length of the code, a multiple of 8 up to 1024.
        labels: Labels of each text. Methods that learn from labels need them; for all others they only select the
            epoch that is kept.
        queries: Questions that each text answers: one or a list of them, None for none. Methods that learn from
            questions, such as ``bpr``, need them; all others are judged by them when the epoch is chosen.
        params: Hyper-parameters that differ from the method's defaults, such as ``{"target": "similarity"}``.
        validation: Share of the texts that is held out to select the epoch that is kept. If these are fewer than 10
            texts, none is held out, and the last epoch is kept.
        epochs: Number of passes over the texts; None: the method's own number.
        batch_size: Number of texts in a step; None: the method's own number.
        patience: Number of epochs without improvement after which training stops; None: the default.
        seed: Random seed of the initial weights, the order, the noise and the held-out texts.
        edition: Rules for words and vocabulary; None: the default.

    Returns:
        The fitted model: ``encode(texts)`` returns packed codes, ``save(directory)`` stores it.

    Raises:
        UsageError: A method or hyper-parameter is unknown, a value is out of range, there are fewer than 3 texts, the
            vectors are not one finite, nonzero vector for each text, or the method does not learn from vectors.
        CorpusError: The texts have no words.

    >>> import texthash
    >>> texts = ["sort an array", "sort a list of numbers", "open a file", "read a table", "plot a graph"]
    >>> model = texthash.train("nash", texts, bits=8)
    >>> model.encode(["sort numbers"]).shape
    (1, 1)
    """
    from texthash.corpora.preparation.steps import prepare_corpus
    from texthash.corpora.prepared.corpus import PreparedCorpus
    from texthash.methods.registry import resolve
    from texthash.paths import StateDir

    features = None if vectors is None else as_vectors(vectors)
    documents = _documents(texts, features)
    if len(documents) < _LEAST:
        raise UsageError(f"texts: {len(documents)} given.", f"give at least {_LEAST}.")
    if not is_between(validation, 0, 1) or validation in (0, 1):
        raise UsageError(
            f"validation={shown(validation)} is not a share.", "give a number above 0 and below 1, such as 0.1."
        )
    if params is not None and not isinstance(params, Mapping):
        raise UsageError(f"params is {shown(params)}, not a mapping.", "give {'name': value} of hyper-parameters.")
    if edition is not None:
        check_edition(edition)
    chosen = parse_section(MethodConfig, {"name": method, "bits": bits, "params": dict(params or {})}, "the method")
    if features is not None:
        chosen = _reading_features(chosen, with_texts=texts is not None)
    resolve(chosen.name, chosen.params)  # before any text is read
    asked = as_labels(queries, len(documents), "queries")
    check_questions(chosen.name, asked)
    given = {"epochs": epochs, "batch_size": batch_size, "patience": patience, "seed": seed}
    training = parse_section(TrainingConfig, {name: v for name, v in given.items() if v is not None}, "the training")
    rule = SplitRule(kind="given")
    form = Edition(name="own", split=rule) if edition is None else edition.derive(split=rule)
    with tempfile.TemporaryDirectory(prefix="texthash-") as folder:
        rows = Path(folder, "texts.jsonl")
        held = _held_out(len(documents), validation, seed)
        written = _write_rows(rows, documents, as_labels(labels, len(documents)), asked, held)
        config = CorpusConfig(name=_NAME, path=str(rows), edition=form, shards=1)
        corpus = PreparedCorpus.open(prepare_corpus(config, StateDir(Path(folder)), labels_expected=labels is not None))
        source = None if features is None else _store(corpus, features[written], Path(folder))
        return _fit(chosen, training, corpus, source, choose=bool(held))


def check_questions(method: str, queries: list[list[str]] | None) -> None:
    """Raise :class:`UsageError` if a method learns from questions and there are none."""
    from texthash.methods.registry import get_method

    if get_method(method).card.supervision == "pairs" and not any(queries or []):
        raise UsageError(
            f"{method} learns from questions and the texts that answer them, and there is no question.",
            "give queries=[...], the questions of each text.",
        )


def _documents(texts: Iterable[str] | None, features: NDArray[np.float32] | None) -> list[str]:
    if texts is None and features is None:
        raise UsageError("there are neither texts nor vectors.", "give texts, vectors=..., or both.")
    # A corpus needs words; if there are only vectors, each document has the same word.
    documents = as_texts(texts) if texts is not None else [_ONLY_VECTORS] * (0 if features is None else len(features))
    if features is not None and len(documents) != len(features):
        raise UsageError(f"there are {len(features)} vectors for {len(documents)} texts.", "give one for each text.")
    return documents


def _reading_features(chosen: MethodConfig, with_texts: bool) -> MethodConfig:
    """Return the method with vectors as its input; raise :class:`UsageError` if it would not read them."""
    from texthash.corpora.prepared.inputs import VECTORS
    from texthash.methods.registry import get_method, hyperparameters, methods

    names = hyperparameters(chosen.name)
    if "input" in names:
        return chosen.derive(params={"input": "features", **chosen.params})
    able = ", ".join(name for name in methods() if "input" in hyperparameters(name))
    if not with_texts:
        raise UsageError(f"{chosen.name} learns from texts, but there are only vectors.", f"use one of {able}.")
    if get_method(chosen.name).card.inputs_needed & VECTORS:
        return chosen
    if chosen.params.get("graph") == "features":
        return chosen
    remedy = "params={'graph': 'features'} takes neighbours by them" if "graph" in names else f"use one of {able}"
    raise UsageError(
        f"{chosen.name} does not read the vectors, only the texts.", f"leave the vectors out, or {remedy}."
    )


def _store(corpus: PreparedCorpus, features: NDArray[np.float32], folder: Path) -> str:
    from texthash.corpora.prepared.embeddings.cache import ensure_features

    path = folder / "vectors.npy"
    np.save(path, features)
    return ensure_features(corpus, f"npy:{path}")


def _fit(
    chosen: MethodConfig, training: TrainingConfig, corpus: PreparedCorpus, source: str | None, choose: bool
) -> Hasher:
    from texthash.evaluation.protocol import EvaluationProtocol
    from texthash.methods.registry import build
    from texthash.models.hasher import Hasher
    from texthash.training.loop import fit

    method = build(chosen.name, corpus.shape_with(source), chosen.bits, chosen.params, seed=training.seed)
    protocol = EvaluationProtocol(corpus, EvaluationConfig(k=min(_K, len(corpus.train)), curve=(1,)))
    pairs = corpus.manifest.pairs
    judged = pairs["validation"].queries > 0 if pairs else protocol.has_relevance
    validate = protocol.validator() if choose and judged else None
    return Hasher.of(fit(method, corpus.train, training, validate=validate).method, corpus)


def _held_out(count: int, share: float, seed: int) -> set[int]:
    """Return the rows of the held-out texts, by which the epoch is selected; none if they would be too few."""
    held = round(share * count)
    if not _LEAST_HELD <= held < count:
        return set()
    return set(np.random.default_rng(seed).permutation(count)[:held].tolist())


def _write_rows(
    path: Path, texts: list[str], labels: list[list[str]] | None, queries: list[list[str]] | None, held: set[int]
) -> list[int]:
    """Write texts as a corpus, and return the position in ``texts`` of each row.

    A corpus needs documents in each of its three splits; a split that is not used here gets a copy of a training text,
    without its questions.
    """
    rows = [(row, "validation" if row in held else "train") for row in range(len(texts))]
    longest = max((row for row in range(len(texts)) if row not in held), key=lambda row: len(texts[row]))
    rows += [(longest, "test")] if held else [(longest, "validation"), (longest, "test")]
    with path.open("w", encoding="utf-8") as file:
        for number, (row, split) in enumerate(rows):
            document: dict[str, Any] = {"id": str(number), "text": texts[row], "split": split}
            if labels is not None:
                document["labels"] = labels[row]
            if queries is not None:
                document["queries"] = queries[row] if number < len(texts) else []
            file.write(json.dumps(document) + "\n")
    return [row for row, _ in rows]
