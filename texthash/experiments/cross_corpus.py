"""Evaluation of a trained model on another corpus than its own, under a shift of domain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from texthash.config import EvaluationConfig
from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.errors import UsageError
from texthash.experiments.trained_models import TrainedModel
from texthash.io.atomic import write_json
from texthash.io.records import read_typed
from texthash.progress import log_line

if TYPE_CHECKING:
    from texthash.evaluation.results import Evaluation
    from texthash.methods.base import Role
    from texthash.models.hasher import Hasher

_UNKNOWN = "unknown.json"
_BATCH = 1024  # texts


def evaluate_on_corpus(
    model: TrainedModel, corpus: PreparedCorpus, config: EvaluationConfig, splits: Sequence[str]
) -> tuple[dict[str, Evaluation], float]:
    """Evaluate a model on another corpus, encoded from raw text; log the metrics and save them.

    Evaluations that the model's directory already holds, under ``on/<corpus>-<edition>/``, are not repeated.

    Args:
        model: Final model.
        corpus: Other corpus, which provides queries and relevance judgements (labels or questions).
        config: Cutoffs of the metrics.
        splits: ``validation``, and ``test`` once the model is final.

    Returns:
        Evaluations by split, and the largest share of documents and queries of a split without a known word.

    Raises:
        UsageError: The corpus has no relevance judgements.
    """
    from texthash.evaluation.protocol import EvaluationProtocol
    from texthash.evaluation.results import Evaluation
    from texthash.models.hasher import Hasher

    protocol, manifest = EvaluationProtocol(corpus, config), corpus.manifest
    key = f"{manifest.name}-{manifest.edition}"
    if not protocol.has_relevance:
        raise UsageError(
            f"no document of {key} has a label, so its codes cannot be evaluated.", "choose another corpus."
        )
    directory = model.directory / "on" / key
    record = directory / _UNKNOWN
    remedy = f"delete {directory} to evaluate the model again."
    unknown = read_typed(dict[str, float], record, remedy) if record.is_file() else {}
    found: dict[str, Evaluation] = {}
    for split in splits:
        if (directory / split).is_dir():
            found[split] = Evaluation.load(directory / split)
            continue
        codes = RawTextEncoder(Hasher.load(model.hasher))
        if split == "test":
            found[split] = protocol.evaluate_test_once(codes, model.name)
        else:
            found[split] = protocol.evaluate_validation(codes)
        unknown[split] = codes.unknown / max(1, codes.documents)
        directory.mkdir(parents=True, exist_ok=True)
        write_json(record, unknown)
        found[split].save(directory / split)
        model.run.metrics({f"{key}/{split}/{name}": value for name, value in found[split].metrics.items()})
        main = found[split].main
        log_line(
            f"evaluate {model.name} on {key}: {split} {main} {found[split].metrics[main]:.4f}; "
            f"{unknown[split]:.1%} of the documents have no known word"
        )
    return found, max(unknown.values(), default=0.0)


class RawTextEncoder:
    """Encoder of the splits of any corpus from their raw text, as in the service.

    Vocabulary and weights are the model's own, so a text of another domain may hold few known words; documents without
    any are counted.

    Args:
        hasher: Trained model.

    Attributes:
        documents: Number of documents encoded so far.
        unknown: Number of those without a word of the model's vocabulary; their code is that of an empty document.
    """

    def __init__(self, hasher: Hasher) -> None:
        self.hasher = hasher
        self.documents = self.unknown = 0

    def encode_split(self, split: Split, role: Role = "document") -> NDArray[np.uint8]:
        """Return packed codes, uint8 [len(split), bits/8], in the order of the split."""
        return np.concatenate([np.zeros((0, self.hasher.bits // 8), np.uint8), *self._blocks(split, role)])

    def _blocks(self, split: Split, role: Role) -> Iterator[NDArray[np.uint8]]:
        for table in split.documents(_BATCH):
            values, known, *_ = self.hasher.read(table["text"].to_pylist(), role)
            self.documents += len(known)
            self.unknown += int((~known).sum())
            yield self.hasher.binarize(values)
