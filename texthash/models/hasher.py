"""Hasher: a fitted method with its vocabulary and text rules, which is saved, registered and served."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from texthash.arguments import check_choice, check_strings, check_whole
from texthash.config import Edition, VectorKind
from texthash.corpora.prepared.batches import Batch, text_batch
from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.corpora.prepared.embeddings.checks import count_of
from texthash.corpora.words import Analyzer, Vocabulary
from texthash.errors import ModelMismatchError, UsageError
from texthash.io.atomic import whole_directory
from texthash.io.records import sealed
from texthash.methods.base import HashMethod, Role, check_searchable
from texthash.methods.categorizer import categories_of
from texthash.methods.registry import build, hyperparameters
from texthash.models.direct import FEW, DirectEncoder
from texthash.models.direct_form import direct_encoder, form_of
from texthash.models.encoding import (
    activations_of,
    binarize,
    device_of,
    encode_split,
    pre_threshold_margins,
    query_values,
)
from texthash.models.files import (
    DIRECT,
    FORMAT_VERSION,
    RECORD,
    VOCABULARY,
    WEIGHTS,
    HasherRecord,
    check_data,
    data_digests,
    local_files,
    read_hasher_record,
    read_vocabulary,
    registered_name,
)
from texthash.models.vectors import checked_features, vector_needs, vector_width, vectors_of
from texthash.paths import local_path
from texthash.progress import log_line


class TextActivations(NamedTuple):
    """Activations of raw texts.

    Attributes:
        values: Real-valued codes before binarization, float32 [N, bits].
        known: Whether a word of the text is in the vocabulary, bool [N]; without one, the values are those of an
            empty document.
        vectors: Vectors that an index stores beside the codes, float32 [N, width]; None unless requested.
        categories: Category of each document, int64 [N], -1 of one without a known word; None of queries, and of a
            method without categories.
    """

    values: torch.Tensor
    known: np.ndarray
    vectors: np.ndarray | None = None
    categories: np.ndarray | None = None


class Hasher:
    """Model that encodes raw text into packed codes.

    Args:
        method: Fitted method.
        vocabulary: Vocabulary of the corpus on which the method was fitted.
        corpus: Name of that corpus.
        edition: Preparation of that corpus, by whose rules new text is tokenised too.
    """

    def __init__(self, method: HashMethod, vocabulary: Vocabulary, corpus: str, edition: Edition) -> None:
        self.method = method.eval()
        self.vocabulary = vocabulary
        self.corpus = corpus
        self.edition = edition
        self.analyzer = Analyzer.from_edition(edition)
        # Of a saved model, whose weights do not change.
        self._direct: DirectEncoder | None = None

    @classmethod
    def of(cls, method: HashMethod, corpus: PreparedCorpus) -> Hasher:
        """Combine a method with the vocabulary and text rules of the corpus on which it was fitted."""
        return cls(method, corpus.vocabulary, corpus.manifest.name, corpus.manifest.config.edition)

    def __repr__(self) -> str:
        read = f"{len(self.vocabulary):,} words of {self.corpus}/{self.edition.name}"
        if self.method.reads_features:
            vectors = f"vectors of {self.method.shape.dense} numbers"
            only = self.method.hyperparameters.get("input") == "features"
            read = vectors if only else f"{read}, {vectors}"
        return f"Hasher({self.method.card.name}, {self.bits} bits, {read})"

    @property
    def bits(self) -> int:
        """Length of the code."""
        return self.method.bits

    @property
    def name(self) -> str:
        """Name under which the model is registered (:func:`registered_name`)."""
        return registered_name(self.corpus, self.edition.name, self.bits)

    @property
    def vocabulary_hash(self) -> str:
        """Fingerprint of the words and their document frequencies."""
        return self.vocabulary.hash

    def read(
        self,
        texts: Sequence[str],
        role: Role = "document",
        batch_size: int = 256,
        vectors: VectorKind | None = None,
        features: Any = None,
    ) -> TextActivations:
        """Return the real-valued codes of raw texts, and whether the vocabulary has a word of each.

        Args:
            texts: Documents or queries.
            role: Role of the texts, for methods with two encoders.
            batch_size: Number of texts encoded at a time.
            vectors: Kind of vectors to return too (:mod:`texthash.models.vectors`); None: none.
            features: Vectors of the texts, numbers [N, D], for a model that learned from vectors; None: the model's
                own source of vectors encodes the texts.

        Raises:
            ModelMismatchError: The model has no vectors of that kind.
            UsageError: Features are given to a model that does not use them, or are missing, of another width, not
                finite or zero; or ``texts`` is one text, a mapping or a table, or a text is not a string.
        """
        _check_texts(texts)
        check_choice("role", role, get_args(Role))
        check_whole("batch_size", batch_size, least=1)
        method = self.method
        if self._direct is not None and features is None and vectors is None and len(texts) <= FEW:
            return self._read_directly(self._direct, texts, role)
        inputs = method.encoding_inputs.also(vector_needs(vectors))
        if vectors is not None:
            vector_width(method, vectors)
        given = None if features is None else checked_features(method, features, texts)
        # A text without a known word, or a blank one where words do not matter, has no meaningful code.
        known = np.zeros(len(texts), np.bool_)
        if method.reads_features:
            known[:] = [given is not None or bool(text.strip()) for text in texts]
        dense: list[np.ndarray] = []
        categories: list[np.ndarray] = []

        def parts() -> Iterator[Batch]:
            for start in range(0, len(texts), batch_size):
                some = slice(start, start + batch_size)
                vectors_of_some = None if given is None else given[some]
                batch = text_batch(texts[some], self.analyzer, self.vocabulary, inputs, vectors_of_some)
                if method.reads_words:
                    known[start + batch.document.numpy()] = True
                if batch.dense is not None:
                    dense.append(batch.dense.numpy())
                if role == "document" and (own := categories_of(method, batch.to(device_of(method)))) is not None:
                    categories.append(own)
                yield batch

        values = activations_of(method, parts(), role)
        made = None if vectors is None else vectors_of(method, vectors, values, dense)
        put = np.where(known, np.concatenate(categories), -1) if categories else None
        return TextActivations(values, known, made, put)

    def _read_directly(self, direct: DirectEncoder, texts: Sequence[str], role: Role) -> TextActivations:
        values = np.empty((len(texts), self.bits), np.float32)
        activations, known = direct.read(texts, self.analyzer, self.vocabulary)
        for row, (text, found) in enumerate(zip(texts, activations, strict=True)):
            if found is None:
                batch = text_batch([text], self.analyzer, self.vocabulary, self.method.encoding_inputs)
                found = activations_of(self.method, [batch], role)[0].numpy()
            values[row] = found
        return TextActivations(torch.from_numpy(values), known)

    def binarize(self, activations: torch.Tensor) -> np.ndarray:
        """Binarize real-valued codes [N, bits] into packed codes, uint8 [N, bits / 8]."""
        return binarize(self.method, activations)

    def pre_threshold_margins(self, activations: torch.Tensor) -> np.ndarray:
        """Return real-valued codes minus the thresholds of the binarizer, float32 [N, bits]: bit = margin > 0."""
        return pre_threshold_margins(self.method, activations)

    def query_values(self, activations: torch.Tensor) -> np.ndarray:
        """Return the real values of queries that are compared with bits, float32 [N, bits], for asymmetric scores."""
        return query_values(self.method, activations)

    def encode(self, texts: Sequence[str], role: Role = "document", batch_size: int = 256) -> np.ndarray:
        """Encode raw texts into packed codes.

        Args:
            texts: Documents or queries.
            role: Role of the texts, for methods with two encoders.
            batch_size: Number of texts encoded at a time.

        Returns:
            uint8 [N, bits / 8], most significant bit first. A text without a known word has the code of an empty one.
        """
        return self.binarize(self.read(texts, role, batch_size).values)

    def encode_vectors(self, vectors: Any, role: Role = "document") -> np.ndarray:
        """Encode vectors, of the kind that the model learned from, into packed codes.

        Args:
            vectors: Numbers [N, D].
            role: Role of the vectors' texts, for methods with two encoders.

        Returns:
            uint8 [N, bits / 8], most significant bit first.

        Raises:
            UsageError: The model does not learn from vectors, or they are of another width, not finite or zero.
        """
        return self.binarize(self.read([""] * count_of(vectors), role, features=vectors).values)

    def cut(self, bits: int) -> Hasher:
        """Return the model whose codes are the first bits of this one's, without training.

        Args:
            bits: Length of the shorter code, a multiple of 8.

        Raises:
            UsageError: The codes of the method are not nested, or have fewer bits.
        """
        shorter = Hasher(self.method.cut(bits), self.vocabulary, self.corpus, self.edition)
        if self._direct is not None:
            shorter._direct = direct_encoder(shorter.method)
        return shorter

    def warm_up(self) -> None:
        """Encode a text, since the first pass is slower; raises the error of a model that does not encode."""
        shape = self.method.shape
        vectors = np.ones((1, shape.dense), np.float32) if self.method.reads_features else None
        batch = text_batch(["a text"], self.analyzer, self.vocabulary, self.method.encoding_inputs, vectors)
        self.binarize(activations_of(self.method, [batch], "query"))

    def encode_split(self, split: Split, role: Role = "document") -> np.ndarray:
        """Encode a prepared split, in order; training documents get the method's own database codes."""
        return encode_split(self.method, split, role)

    def check_corpus(self, corpus: PreparedCorpus) -> None:
        """Raise :class:`ModelMismatchError` unless the corpus has the vocabulary on which the model was fitted."""
        if corpus.vocabulary.hash != self.vocabulary_hash:
            raise ModelMismatchError(
                f"the model was fitted on {self.corpus}/{self.edition.name} with vocabulary "
                f"{self.vocabulary_hash[:12]} ({len(self.vocabulary.terms)} words), the corpus "
                f"{corpus.manifest.name}/{corpus.manifest.edition} has {corpus.vocabulary.hash[:12]} "
                f"({len(corpus.vocabulary.terms)} words).",
                "use the corpus that the model was fitted on, or train a model on this one.",
            )

    def check_searchable(self) -> None:
        """Raise :class:`UsageError` if the method only re-ranks, so that no index can be searched by its codes."""
        check_searchable(self.method.card)

    # -- files ------------------------------------------------------------------------------------------------

    def save(self, directory: str | Path) -> Path:
        """Write the model as safetensors and JSON into a new directory, atomically.

        Raises:
            FileExistsError: The directory exists.
        """
        directory = local_path(directory)
        if directory.exists():
            raise FileExistsError(
                f"{directory} exists; a saved model is never overwritten: name another directory, or remove it"
            )
        with whole_directory(directory) as partial:
            self._write(partial)
        return directory

    def _write(self, partial: Path) -> None:
        # Copies, because safetensors refuses tensors that share memory, as tied weights do.
        weights = {
            name: tensor.cpu().contiguous().clone() for name, tensor in self.method.inference_state_dict().items()
        }
        form = form_of(self.method)
        described = None if form is None else {DIRECT: json.dumps(asdict(form))}
        save_file(weights, partial / WEIGHTS, described)
        (partial / VOCABULARY).write_text(self.vocabulary.to_json(), encoding="utf-8")
        record = {
            "format": FORMAT_VERSION,
            "method": self.method.card.name,
            "params": dict(self.method.hyperparameters),
            "bits": self.bits,
            "shape": self.method.shape.to_dict(),
            "corpus": self.corpus,
            "edition": self.edition.model_dump(mode="json"),
            "vocabulary_hash": self.vocabulary_hash,
            "serves": self.method.card.serving_mode,
            "files": data_digests(partial),
        }
        (partial / RECORD).write_text(json.dumps(sealed(record), indent=2), encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> Hasher:
        """Read a model that :meth:`save` wrote, from its directory or from where it was published.

        Raises:
            ModelMismatchError: Files are missing, damaged or do not belong together; the error names the difference.
        """
        directory = local_files(directory)
        record = read_hasher_record(directory)
        check_data(directory, record)
        vocabulary = read_vocabulary(directory, record)
        method = _untrained(directory, record)
        try:
            weights = load_file(directory / WEIGHTS)
            _check_numbers(directory, weights)
            method.load_state_dict(weights)
        except (RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise ModelMismatchError(
                f"{directory}: the weights do not fit {record.method} at {record.bits} bits: {reason}",
                "restore the whole directory as it was saved, or train the model again with this version.",
            ) from None
        hasher = cls(method, vocabulary, record.corpus, record.edition)
        hasher._direct = direct_encoder(hasher.method)
        return hasher


def _check_texts(texts: Any) -> None:
    """Raise :class:`UsageError` unless these are texts; the letters of one would be encoded as a text each."""
    if isinstance(texts, str | bytes):
        raise UsageError(f"texts={texts[:40]!r} is one text.", "give a list of texts: [...].")
    if isinstance(texts, Mapping) or not hasattr(texts, "__len__") or getattr(texts, "ndim", 1) != 1:
        raise UsageError(f"texts is a {type(texts).__name__}.", "give a list of texts, or a column of a table.")
    check_strings("texts", texts)


def _check_numbers(directory: Path, weights: dict[str, torch.Tensor]) -> None:
    """Raise an error if a weight is not a number: nearly all texts would get the same code."""
    for name, values in weights.items():
        if values.isnan().any():
            raise ModelMismatchError(
                f"{directory}: {int(values.isnan().sum())} of the weights {name} are not a number (NaN).",
                "restore the whole directory as it was saved, or train the model again at a lower learning rate.",
            )


def _untrained(directory: Path, record: HasherRecord) -> HashMethod:
    """Build the method of a record; a hyper-parameter that the record lacks gets the default of this version."""
    try:
        missing = hyperparameters(record.method).keys() - record.params.keys()
        if missing:
            log_line(f"{directory} does not record {', '.join(sorted(missing))}: the defaults are used")
        return build(record.method, record.shape, record.bits, record.params)
    except UsageError as error:
        raise ModelMismatchError(
            f"{directory} cannot be built: {error.problem}", "use the version of texthash that wrote it."
        ) from error
