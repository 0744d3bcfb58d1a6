"""The protocol: queries against the database, validation as often as needed, test once."""

from __future__ import annotations

import math
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal
from typing import Protocol as Interface

import numpy as np
import torch
from numpy.typing import NDArray

from texthash.config import EvaluationConfig
from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.corpora.prepared.halves import can_be_halved
from texthash.errors import UsageError
from texthash.evaluation.diagnostics import collapse_warning, diagnose, share_of_ones
from texthash.evaluation.relevance import JudgedQueries, halves_of, judged_queries, measure_of
from texthash.evaluation.results import Evaluation
from texthash.evaluation.scoring import (
    HALVES,
    HALVES_CUT,
    HALVES_PREFIX,
    SHORT,
    check_figure,
    expected,
    nothing_relevant,
    score,
)
from texthash.methods.base import HashMethod
from texthash.models.encoding import encode_split


class Encoder(Interface):
    """Anything that turns a split into codes; :class:`texthash.models.hasher.Hasher` does."""

    def encode_split(self, split: Split, role: Literal["document", "query"] = "document") -> NDArray[np.uint8]:
        """Packed codes uint8 [len(split), bits/8] in the order of the split."""
        ...


class EvaluationProtocol:
    """How models of one prepared corpus are judged.

    Queries are those of the validation split while a study runs and of the test split once at its end. Two documents
    are relevant to each other if they share a label, and the database is always train. In a pair corpus, queries are
    the questions of a split, relevant are the documents that answer them, the database holds the documents of all
    splits, and models are chosen by recall. Without either, one half of a document asks for the other. See
    :func:`texthash.evaluation.relevance.judged_queries`.

    Args:
        corpus: Prepared corpus.
        config: Cuts of the metrics, and the one that models are chosen by.

    Raises:
        UsageError: ``selection_metric`` is no metric of such a corpus, or the whole curve is beyond its documents.
    """

    def __init__(self, corpus: PreparedCorpus, config: EvaluationConfig | None = None) -> None:
        self.corpus = corpus
        self.config = config or EvaluationConfig()
        if self.config.selection_metric is not None:
            check_figure(self.config.selection_metric, self.config.k, measure_of(corpus))
        documents = corpus.manifest.documents
        size = sum(documents.values()) if corpus.manifest.pairs else documents["train"]
        if min(self.config.curve) > size:
            raise UsageError(
                f"evaluation.curve={list(self.config.curve)} has no cut within the {size} documents that are searched.",
                f"name one of {size} or less.",
            )
        self._released: set[str] = set()

    def evaluate_validation(self, model: Encoder, *, allow_few_codes: bool = False) -> Evaluation:
        """All figures with the validation split as queries; may be asked for as often as one likes.

        Args:
            model: Gives the codes.
            allow_few_codes: It learned from labels, so its codes may be as few as these without having collapsed.
        """
        return self._evaluate(model, "validation", allow_few_codes)

    def validate(self, model: Encoder) -> dict[str, float]:
        """The metrics of :meth:`evaluate_validation` by flat name."""
        return self.evaluate_validation(model).metrics

    @property
    def metric(self) -> str:
        """Name of the figure that models are chosen by: ``p_at_<k>``, in a pair corpus ``recall_at_<k>``, without
        labels ``halves_hit_at_10``, unless ``evaluation.selection_metric`` names another."""
        return self.config.selection_metric or (self.main if self.has_relevance else HALVES)

    @property
    def main(self) -> str:
        """Name of the figure that tables are ordered by: ``p_at_<k>``, in a pair corpus ``recall_at_<k>``."""
        return f"{SHORT[measure_of(self.corpus)]}_at_{self.config.k}"

    @property
    def has_relevance(self) -> bool:
        """Whether the corpus says what is relevant to what."""
        manifest = self.corpus.manifest
        return bool(manifest.label_names or manifest.pairs)

    @property
    def measurable(self) -> bool:
        """Whether models can be told from each other on validation: by what is relevant, or by halves of documents."""
        return self.has_relevance or can_be_halved(self.corpus.validation)

    def validator(self) -> Validator:
        """What training selects its weights by: the expected :attr:`metric` on validation, as a function of a method.
        Can be pickled."""
        return Validator(self.corpus.path, self.config)

    def evaluate_test_once(self, model: Encoder, study: str, *, allow_few_codes: bool = False) -> Evaluation:
        """All figures with the test split as queries: once per study, when its model is frozen.

        A study is one search that ends in one frozen model, for instance one method at one width with one seed. What
        test says must not steer it, so a second look under the same name is refused. The record of what was released
        lives as long as this object.

        Args:
            model: The final model of the study.
            study: Name of the study.
            allow_few_codes: As for validation.

        Raises:
            UsageError: test was released for this study before.
        """
        if study in self._released:
            raise UsageError(
                f"the test split was already released for the study {study!r}.",
                "choose by validate(); a model found after looking at test needs a new study, with a name of its own.",
            )
        evaluation = self._evaluate(model, "test", allow_few_codes)
        self._released.add(study)
        return evaluation

    def _evaluate(self, model: Encoder, split: str, allow_few_codes: bool) -> Evaluation:
        asked, manifest = judged_queries(self.corpus, split), self.corpus.manifest
        query_codes, database_codes = asked.codes(model.encode_split)
        scores = score(
            query_codes, database_codes, asked.relevance, self.config, torch.get_num_threads(), asked.measure
        )
        bits = 8 * database_codes.shape[1]
        diagnostics = diagnose(database_codes)
        # Bits that are balanced on the database and not on the queries show a shift between the two.
        unseen = model.encode_split(self.corpus.split(split)) if asked.measure == "halves" else query_codes
        of_queries = diagnose(unseen)
        diagnostics["query_bit_balance"] = of_queries["bit_balance"]
        warnings = [*manifest.warnings, *asked.left_out]
        if self.config.k > asked.documents:
            warnings.append(
                f"k={self.config.k} of {asked.documents} documents: those that do not exist count as irrelevant."
            )
        collapse = collapse_warning(of_queries, bits, len(unseen), allow_few_codes)
        if collapse:
            warnings.append(collapse)
        return Evaluation(
            corpus=manifest.name,
            edition=manifest.edition,
            split=split,
            bits=bits,
            k=self.config.k,
            measure=asked.measure,
            collapse=collapse,
            metrics=scores.metrics,
            curves={**scores.curves, "share_of_ones": share_of_ones(database_codes).tolist()},
            diagnostics=diagnostics,
            warnings=warnings,
            per_query=scores.per_query,
            query_codes=query_codes,
            database_codes=database_codes,
            query_labels=asked.first_labels(),
        )


class Validator:
    """The figure that models are chosen by, of a method on the validation split.

    Holds the path of the corpus rather than the corpus, so it travels to the workers of distributed training and opens
    the corpus there, once.

    Args:
        corpus_path: Directory of the prepared corpus; reachable from every worker.
        config: Gives the cut k and the metric.
    """

    def __init__(self, corpus_path: Path, config: EvaluationConfig) -> None:
        self.corpus_path = corpus_path
        self.config = config

    def __call__(self, method: HashMethod) -> float:
        """The figure of one method.

        Raises:
            UsageError: no query has a relevant document, so no epoch could be told from another.
        """
        asked = self._collection
        queries, database = asked.codes(partial(encode_split, method))
        of_halves = asked.measure == "halves"
        figure = expected(
            queries,
            database,
            asked.relevance,
            HALVES_CUT if of_halves else self.config.k,
            torch.get_num_threads(),
            asked.measure,
            HALVES.removeprefix(HALVES_PREFIX) if of_halves else self.config.selection_metric,
        )
        if math.isnan(figure):
            raise nothing_relevant(len(queries), len(database))
        return figure

    @cached_property
    def _collection(self) -> JudgedQueries:
        corpus = PreparedCorpus.open(self.corpus_path)
        return (halves_of if self.config.selection_metric == HALVES else judged_queries)(corpus, "validation")

    def __getstate__(self) -> dict[str, Any]:
        return {"corpus_path": self.corpus_path, "config": self.config}
