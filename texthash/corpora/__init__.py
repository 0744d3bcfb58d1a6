"""Corpora: their catalog, readers and preparation, and prepared corpora on disk.

>>> from texthash import corpora
>>> "20newsgroups" in corpora.names()
True
"""

from __future__ import annotations

__all__ = ["names"]


def names() -> list[str]:
    """Return the names of all corpora that have a reader, in alphabetical order."""
    from texthash.corpora.catalog import readers

    return sorted(readers())
