"""Texts of two topics, and a model of them."""

from __future__ import annotations

import pytest

import texthash

CITIES = [
    "oslo",
    "rome",
    "lima",
    "cairo",
    "paris",
    "tokyo",
    "delhi",
    "quito",
    "dakar",
    "minsk",
    "seoul",
    "sofia",
    "tunis",
]
TEXTS = [f"sort an array of numbers {city}" for city in CITIES] + [f"open and read a file {city}" for city in CITIES]
LABELS = ["sort"] * len(CITIES) + ["file"] * len(CITIES)


@pytest.fixture(scope="session")
def model() -> texthash.Hasher:
    return texthash.train("itq", TEXTS, bits=16)
