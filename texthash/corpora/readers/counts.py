"""Check that a corpus is complete, by its published numbers of documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from texthash.corpora.document import Document
from texthash.errors import CorpusError


def checked(
    documents: Iterable[Document], name: str, files: list[Path], *known: Mapping[str, int]
) -> Iterator[Document]:
    """Yield documents unchanged; after the last one, raise if their counts are not those of a published edition.

    Args:
        documents: Documents of a whole corpus, including those that the corpus does not count.
        name: Name of the corpus.
        files: Files that are read; named in the error.
        known: Number of documents by split, one mapping for each published edition.

    Raises:
        CorpusError: The counts differ (names both).
    """
    found = Counter[str]()
    for document in documents:
        found[document.split] += 1
        yield document
    if found not in known:
        expected = " or ".join(_readable(counts) for counts in known)
        raise CorpusError(
            f"{name} in {', '.join(map(str, files[:3]))} has {_readable(found)} documents, not {expected}.",
            "fetch it again; for a part of a corpus set corpus.path, and give it a name of its own.",
        )


def _readable(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {split}".rstrip() for split, number in counts.items()) or "no"
