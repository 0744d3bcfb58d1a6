"""Sizes of methods below those of use: wide layers and long texts take most of a test's time and show nothing more."""

from texthash.methods.registry import hyperparameters

# Sizes with which each method still learns in a few epochs.
LEARNING = {
    "hidden": 256,
    "words": 500,
    "channels": 16,
    "filters": 32,
    "length": 48,
    "max_length": 48,
    "concept_count": 50,
    "tag_count": 100,
    "candidates": 6,
    "tower_width": 64,
    "view_width": 64,
    "topic_width": 50,
    "long_bits": 64,
}
# Sizes that have every layer and every kind of step.
SMALLEST = {
    "hidden": 24,
    "words": 200,
    "channels": 8,
    "embedding": 8,
    "filters": 6,
    "length": 12,
    "max_length": 12,
    "concept_count": 9,
    "tag_count": 11,
    "candidates": 4,
    "tower_width": 24,
    "view_width": 24,
    "topic_width": 16,
    "long_bits": 32,
}


def narrowed(name: str, sizes: dict[str, int]) -> dict[str, int]:
    """Hyper-parameters of a method that are brought down to the given sizes."""
    defaults = hyperparameters(name)
    return {key: size for key, size in sizes.items() if key in defaults and defaults[key] > size}
