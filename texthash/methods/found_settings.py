"""Hyper-parameters that a search of equal budget found, as ``method.preset=tuned`` takes them.

They are read from ``configs/reproductions/tuned.yaml``, which ``pipelines/reproduce.py --tuned`` writes. They were
chosen on validation documents of one corpus, at one width; on another corpus they are a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from texthash.config.shipped import SHIPPED

_FILE = SHIPPED / "reproductions" / "tuned.yaml"  # never one of the current directory: it comes with the methods


@dataclass(frozen=True)
class FoundSettings:
    """Settings that a search found for one method.

    Attributes:
        corpus: Corpus and edition of the search, such as ``20newsgroups/random60``.
        bits: Width of the codes of the search.
        trials: Number of its trials.
        validation: P@100 on the validation documents, with these settings.
        values: Hyper-parameters that differ from the defaults; none if the defaults were best.
    """

    corpus: str
    bits: int
    trials: int
    validation: float
    values: Mapping[str, Any]

    def __str__(self) -> str:
        search = f"{self.trials} trials on {self.corpus}, {self.bits} bits"
        return f"found by {search} (P@100 {self.validation:.3f} on validation)"


@cache
def found_settings() -> Mapping[str, FoundSettings]:
    """Return the settings found by method; of several widths those of the narrowest."""
    records = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    found: dict[str, FoundSettings] = {}
    for key, record in records.items():
        corpus, edition, method, bits = key.split("/")
        own = FoundSettings(f"{corpus}/{edition}", int(bits), record["trials"], record["validation"], record["params"])
        if method not in found or own.bits < found[method].bits:
            found[method] = own
    return found
