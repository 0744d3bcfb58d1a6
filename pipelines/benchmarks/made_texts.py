"""Documents that are made up, for measurements: words by Zipf's law, and a topic in each document."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

_TERMS, _TOPICS, _ROWS = 200_000, 20, 10_000
_SYLLABLES = tuple(c + v for c in "bdfgklmnprstvz" for v in "aeiou")


def write_rows(path: Path, documents: int, mean_words: float, held_out: int, *, seed: int = 0) -> Path:
    """Write documents as JSONL, with their own splits: ``documents`` of train, ``held_out`` of validation and of test.

    Lengths are uniform from half to one and a half times ``mean_words``. A quarter of the words are those of the
    document's topic, which is its label. 77 % of all words are among the 10,000 most frequent ones.
    """
    generator = np.random.default_rng(seed)
    terms = np.array(_terms(), dtype=object)
    total = np.cumsum(1 / np.arange(1, _TERMS + 1))
    splits = (["validation"] * held_out) + (["test"] * held_out) + ["train"] * documents
    with path.open("w", encoding="utf-8") as file:
        for first in range(0, len(splits), _ROWS):
            rows = splits[first : first + _ROWS]
            lengths = generator.integers(int(mean_words / 2), int(1.5 * mean_words) + 1, len(rows)).clip(min=1)
            drawn = np.searchsorted(total, generator.random(lengths.sum()) * total[-1]).clip(max=_TERMS - 1)
            topics = generator.integers(_TOPICS, size=len(rows))
            of_topic = generator.random(len(drawn)) < 0.25
            own = drawn // _TOPICS * _TOPICS + np.repeat(topics, lengths)
            words = terms[np.where(of_topic, own, drawn)]
            end = 0
            for row, split in enumerate(rows):
                start, end = end, end + lengths[row]
                members = {
                    "id": f"made/{first + row:09d}",
                    "text": " ".join(words[start:end]),
                    "labels": [f"topic{topics[row]:02d}"],
                    "split": split,
                }
                file.write(json.dumps(members) + "\n")
    return path


def _terms() -> list[str]:
    """Return distinct words, of which frequent ones are short: numbers written in syllables."""
    return [_word(number) for number in range(_TERMS)]


def _word(number: int) -> str:
    base, word = len(_SYLLABLES), ""
    number += base  # two syllables at least: words of the stop list are one
    while number:
        number, digit = divmod(number, base)
        word += _SYLLABLES[digit]
    return word
