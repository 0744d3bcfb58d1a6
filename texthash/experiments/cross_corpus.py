"""A trained model judged on another corpus than its own: what its codes are worth under a shift of domain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from texthash.config import EvaluationConfig
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import UsageError
from texthash.experiments.trained_models import TrainedModel
from texthash.progress import log_line

if TYPE_CHECKING:
    from texthash.evaluation.results import Evaluation

_UNKNOWN = "unknown.json"


def evaluate_elsewhere(
    model: TrainedModel, corpus: PreparedCorpus, config: EvaluationConfig, splits: Sequence[str]
) -> tuple[dict[str, Evaluation], float]:
    """All figures of a model on another corpus, whose documents it reads as raw text; logs and keeps them.

    What the model's directory holds already, under ``on/<corpus>-<edition>/``, is not found again.

    Args:
        model: A final model.
        corpus: The other corpus: its splits ask, its labels (or questions) say what is relevant.
        config: Cuts.
        splits: ``validation``, and ``test`` once the model is final.

    Returns:
        The evaluations by split, and the share of the documents and queries without a word that the model knows.

    Raises:
        UsageError: nothing of the corpus says what is relevant.
    """
    from texthash.evaluation.cross_corpus import RawTextEncoder
    from texthash.evaluation.protocol import EvaluationProtocol
    from texthash.evaluation.results import Evaluation
    from texthash.models.hasher import Hasher

    protocol, manifest = EvaluationProtocol(corpus, config), corpus.manifest
    key = f"{manifest.name}-{manifest.edition}"
    if not protocol.has_relevance:
        raise UsageError(f"no document of {key} has a label, so codes of it cannot be judged.", "name another corpus.")
    place = model.directory / "on" / key
    unknown = json.loads((place / _UNKNOWN).read_text(encoding="utf-8")) if (place / _UNKNOWN).is_file() else {}
    found: dict[str, Evaluation] = {}
    for split in splits:
        if (place / split).is_dir():
            found[split] = Evaluation.load(place / split)
            continue
        codes = RawTextEncoder(Hasher.load(model.hasher))
        if split == "test":
            found[split] = protocol.evaluate_test_once(codes, model.name)
        else:
            found[split] = protocol.evaluate_validation(codes)
        unknown[split] = codes.unknown / max(1, codes.documents)
        place.mkdir(parents=True, exist_ok=True)
        (place / _UNKNOWN).write_text(json.dumps(unknown), encoding="utf-8")
        found[split].save(place / split)
        model.run.metrics({f"{key}/{split}/{name}": value for name, value in found[split].metrics.items()})
        main = found[split].main
        log_line(
            f"evaluate {model.name} on {key}: {split} {main} {found[split].metrics[main]:.4f}; "
            f"{unknown[split]:.1%} of the documents hold no word that it knows"
        )
    return found, max(unknown.values(), default=0.0)
