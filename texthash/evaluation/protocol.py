"""Evaluation protocol: queries against the database, on validation as often as needed, on test once."""

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
from texthash.evaluation.pools import (
    Pools,
    bm25_scores,
    hamming_scores,
    judged_pools,
    pool_figures,
    pools_of,
    reranker_scores,
)
from texthash.evaluation.relevance import JudgedQueries, halves_of, judged_queries, measure_of
from texthash.evaluation.results import Evaluation
from texthash.evaluation.scoring import (
    HALVES,
    HALVES_CUT,
    HALVES_PREFIX,
    POOL_FIGURES,
    SHORT,
    check_selection_metric,
    expected,
    no_relevant_documents,
    score,
)
from texthash.evaluation.severity import severity
from texthash.methods.base import HashMethod
from texthash.models.encoding import encode_split


class Encoder(Interface):
    """Anything that encodes a split, such as :class:`texthash.models.hasher.Hasher`."""

    def encode_split(self, split: Split, role: Literal["document", "query"] = "document") -> NDArray[np.uint8]:
        """Return packed codes, uint8 [len(split), bits/8], in the order of the split."""
        ...


class EvaluationProtocol:
    """Evaluation protocol of the models of one prepared corpus.

    Queries come from the validation split during an experiment and from the test split once at its end. Two documents
    are relevant to each other if they share a label, and the database is always train. In a pair corpus the queries are
    the questions of a split, the relevant documents are those that answer them, the database holds the documents of all
    splits, and models are selected by recall. Without labels or pairs, one half of a document is the query for the
    other half. See :func:`texthash.evaluation.relevance.judged_queries`.

    Args:
        corpus: Prepared corpus.
        config: Cutoffs of the metrics, and the metric by which models are selected.

    Raises:
        UsageError: ``selection_metric`` is not a metric of this corpus, or every cutoff of the curve exceeds the size
            of the database.
    """

    def __init__(self, corpus: PreparedCorpus, config: EvaluationConfig | None = None) -> None:
        self.corpus = corpus
        self.config = config or EvaluationConfig()
        if self.config.selection_metric is not None:
            check_selection_metric(self.config.selection_metric, self.config.k, measure_of(corpus))
        documents = corpus.manifest.documents
        size = sum(documents.values()) if corpus.manifest.pairs else documents["train"]
        if min(self.config.curve) > size:
            raise UsageError(
                f"evaluation.curve={list(self.config.curve)} has no cut within the {size} documents of the database.",
                f"name one of {size} or less.",
            )
        self._tested: set[str] = set()

    def evaluate_validation(self, model: Encoder, *, allow_few_codes: bool = False) -> Evaluation:
        """Evaluate a model with the queries of the validation split; may be repeated.

        Args:
            model: Encoder of the splits.
            allow_few_codes: True for a method that learned from labels, whose codes may be few without having
                collapsed; see :func:`texthash.evaluation.diagnostics.collapse_warning`.
        """
        return self._evaluate(model, "validation", allow_few_codes)

    def validate(self, model: Encoder) -> dict[str, float]:
        """Return the metrics of :meth:`evaluate_validation` by flat name."""
        return self.evaluate_validation(model).metrics

    @property
    def metric(self) -> str:
        """Name of the metric by which models are selected, ``evaluation.selection_metric`` if that is set.

        The default is ``p_at_<k>``, in a pair corpus ``recall_at_<k>``, and without labels ``halves_hit_at_10``.
        """
        return self.config.selection_metric or (self.main if self.has_relevance else HALVES)

    @property
    def main(self) -> str:
        """Name of the metric by which tables are sorted: ``p_at_<k>``, in a pair corpus ``recall_at_<k>``."""
        return f"{SHORT[measure_of(self.corpus)]}_at_{self.config.k}"

    @property
    def has_relevance(self) -> bool:
        """True if the corpus has relevance judgements: labels or pairs."""
        manifest = self.corpus.manifest
        return bool(manifest.label_names or manifest.pairs)

    @property
    def measurable(self) -> bool:
        """True if models can be compared on validation, by relevance judgements or by halves of documents."""
        return self.has_relevance or can_be_halved(self.corpus.validation)

    def validator(self) -> Validator:
        """Return the function by which training selects weights, the expected :attr:`metric` on validation.

        It can be pickled.
        """
        return Validator(self.corpus.path, self.config)

    def evaluate_test_once(self, model: Encoder, experiment: str, *, allow_few_codes: bool = False) -> Evaluation:
        """Evaluate a final model with the queries of the test split, once per experiment.

        An experiment is one search that ends in one frozen model, for instance one method at one width with one seed.
        Results on test must not influence it, so a second evaluation under the same name is rejected. The record of
        evaluated experiments lives as long as this object.

        Args:
            model: Final model of the experiment.
            experiment: Name of the experiment.
            allow_few_codes: Same as in :meth:`evaluate_validation`.

        Raises:
            UsageError: The test split was already used for this experiment.
        """
        if experiment in self._tested:
            raise UsageError(
                f"the test split was already used for the experiment {experiment!r}.",
                "select models by validate(); a model chosen after an evaluation on test needs an experiment of its "
                "own, with a new name.",
            )
        evaluation = self._evaluate(model, "test", allow_few_codes)
        self._tested.add(experiment)
        return evaluation

    def _pools(self, judged: JudgedQueries, model: Encoder) -> Pools | None:
        """Return the pools that the corpus judged; for a method that only re-ranks, or if one is asked for, any."""
        if judged.measure != "recall":
            return None
        wanted = _reranker(model) is not None or self.config.selection_metric in POOL_FIGURES
        pools = pools_of(judged) if wanted else judged_pools(judged)
        return pools if pools is not None and len(pools) else None

    def _evaluate(self, model: Encoder, split: str, allow_few_codes: bool) -> Evaluation:
        judged, manifest = judged_queries(self.corpus, split), self.corpus.manifest
        query_codes, database_codes = judged.codes(model.encode_split)
        scores = score(
            query_codes, database_codes, judged.relevance, self.config, torch.get_num_threads(), judged.measure
        )
        pools = self._pools(judged, model)
        if pools is not None:
            reranker = _reranker(model)
            if reranker is None:
                scores.metrics.update(pool_figures(pools, hamming_scores(pools, query_codes, database_codes)))
            else:  # it has to improve on the order in which it gets the candidates
                scores.metrics.update(pool_figures(pools, reranker_scores(pools, judged, reranker)))
                by_words = pool_figures(pools, bm25_scores(pools, judged))
                scores.metrics.update({f"{name}_bm25": by_words[name] for name in POOL_FIGURES})
        if judged.measure == "precision" and manifest.label_parents:
            tree, threads = self.corpus.label_tree, torch.get_num_threads()
            of_groups = severity(query_codes, database_codes, judged.relevance, tree, self.config.k, threads)
            scores.metrics.update(of_groups)
        bits = 8 * database_codes.shape[1]
        diagnostics = diagnose(database_codes)
        # Bits that are balanced on the database but not on the queries reveal a shift between the two.
        unseen = model.encode_split(self.corpus.split(split)) if judged.measure == "halves" else query_codes
        of_queries = diagnose(unseen)
        diagnostics["query_bit_balance"] = of_queries["bit_balance"]
        warnings = [*manifest.warnings, *judged.left_out]
        if pools is not None:
            warnings.append(pools.note)
        if self.config.k > judged.documents:
            warnings.append(
                f"k={self.config.k} exceeds the {judged.documents} documents: missing ones count as irrelevant."
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
            measure=judged.measure,
            collapse=collapse,
            metrics=scores.metrics,
            curves={**scores.curves, "share_of_ones": share_of_ones(database_codes).tolist()},
            diagnostics=diagnostics,
            warnings=warnings,
            per_query=scores.per_query,
            query_codes=query_codes,
            database_codes=database_codes,
            query_labels=judged.first_labels(),
        )


def _reranker(model: Encoder) -> HashMethod | None:
    """Return the method of a model if it only re-ranks."""
    method: HashMethod | None = getattr(model, "method", None)
    return method if method is not None and method.card.only_reranks else None


class Validator:
    """Selection metric of a method on the validation split.

    Holds the path of the corpus rather than the corpus, so that it can be sent to the workers of distributed training;
    each opens the corpus once.

    Args:
        corpus_path: Directory of the prepared corpus; reachable from every worker.
        config: Configuration with the cutoff k and the selection metric.
    """

    def __init__(self, corpus_path: Path, config: EvaluationConfig) -> None:
        self.corpus_path = corpus_path
        self.config = config

    def __call__(self, method: HashMethod) -> float:
        """Return the selection metric of a method.

        Raises:
            UsageError: No query has a relevant document, so epochs cannot be compared.
        """
        judged, encode = self._judged, partial(encode_split, method)
        if self.config.selection_metric in POOL_FIGURES:
            of_candidates = (
                reranker_scores(self._pools, judged, method)
                if method.card.only_reranks
                else hamming_scores(self._pools, *judged.codes(encode))
            )
            return pool_figures(self._pools, of_candidates)[self.config.selection_metric]
        queries, database = judged.codes(encode)
        of_halves = judged.measure == "halves"
        figure = expected(
            queries,
            database,
            judged.relevance,
            HALVES_CUT if of_halves else self.config.k,
            threads=torch.get_num_threads(),
            measure=judged.measure,
            metric=HALVES.removeprefix(HALVES_PREFIX) if of_halves else self.config.selection_metric,
        )
        if math.isnan(figure):
            raise no_relevant_documents(len(queries), len(database))
        return figure

    @cached_property
    def _judged(self) -> JudgedQueries:
        corpus = PreparedCorpus.open(self.corpus_path)
        return (halves_of if self.config.selection_metric == HALVES else judged_queries)(corpus, "validation")

    @cached_property
    def _pools(self) -> Pools:
        return pools_of(self._judged)

    def __getstate__(self) -> dict[str, Any]:
        return {"corpus_path": self.corpus_path, "config": self.config}
