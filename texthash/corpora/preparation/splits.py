"""Assignment of documents to train, validation and test."""

from __future__ import annotations

from itertools import count as count_from

import numpy as np
from numpy.typing import NDArray

from texthash.config import SplitRule
from texthash.corpora.document import SPLITS
from texthash.errors import CorpusError

NONE = -1
_SAMPLING = 1  # beside the seed, so that sample and split are drawn independently
TRAIN, VALIDATION, TEST = range(3)


def assign(given: NDArray[np.int8], rule: SplitRule, sample: int | None = None) -> NDArray[np.int8]:
    """Return the split of every document.

    Args:
        given: Splits given by the source, in reading order: indices into ``SPLITS``, or -1 for none.
        rule: ``given``; ``random``: shares of a seeded permutation; ``halve_test``: a seeded half of test becomes
            validation.
        sample: Number of documents to draw by the rule's seed; only these are divided.

    Returns:
        int8 [documents]; -1 exactly for those outside of the sample.

    Raises:
        CorpusError: The rule leaves a document without a split, or a split without documents.
    """
    if sample is not None and sample < len(given):
        drawn = np.sort(np.random.default_rng((rule.seed, _SAMPLING)).permutation(len(given))[:sample])
        result = np.full(len(given), NONE, np.int8)
        result[drawn] = assign(given[drawn], rule)
        return result
    generator = np.random.default_rng(rule.seed)
    if rule.kind == "random":
        result = np.full(len(given), TEST, np.int8)
        order = generator.permutation(len(given))
        train, validation, _ = _sizes(len(given), rule)
        result[order[:train]] = TRAIN
        result[order[train : train + validation]] = VALIDATION
    else:
        result = given.copy()
        if rule.kind == "halve_test":
            test = np.flatnonzero(given == TEST)
            result[generator.permutation(test)[: len(test) // 2]] = VALIDATION
    _check(result, rule)
    return result


def _check(result: NDArray[np.int8], rule: SplitRule) -> None:
    if without := int((result == NONE).sum()):
        first = int(np.argmax(result == NONE)) + 1
        raise CorpusError(
            f"{without} of {len(result)} documents have no split (first: document {first}).",
            "use corpus.edition.split.kind=random, or give each document a split.",
        )
    missing = [name for number, name in enumerate(SPLITS) if not (result == number).any()]
    if missing:
        raise CorpusError(
            f"no document of {len(result)} is in the split {', '.join(missing)}.", _remedy(missing, len(result), rule)
        )


def _remedy(missing: list[str], documents: int, rule: SplitRule) -> str:
    """Return the remedy for splits without documents; a random split is only suggested if it would have none."""
    fewest = next(count for count in count_from(1) if min(_sizes(count, rule)) > 0)
    if rule.kind == "random" or documents < fewest:
        shares = f"{rule.train:g} and {rule.validation:g}"
        return f"add some: a random split by shares of {shares} needs {fewest} documents or more."
    if missing == ["validation"] and rule.kind == "given":
        return "use corpus.edition.split.kind=halve_test, which takes half of test, or kind=random."
    return "use corpus.edition.split.kind=random."


def _sizes(documents: int, rule: SplitRule) -> tuple[int, int, int]:
    """Return the numbers of documents in train, validation and test of a random split."""
    train, validation = (round(share * documents) for share in (rule.train, rule.validation))
    validation = min(validation, documents - train)
    return train, validation, documents - train - validation
