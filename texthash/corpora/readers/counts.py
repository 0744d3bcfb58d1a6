"""Whether a corpus is all there: documents by split against the published counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from texthash.corpora.document import Document
from texthash.errors import CorpusError


def checked(
    documents: Iterable[Document], name: str, files: list[Path], *known: Mapping[str, int]
) -> Iterator[Document]:
    """The documents as they come; after the last one, raise where their number is none of the published ones.

    Args:
        documents: Of a whole corpus, those that the corpus does not count among them.
        name: Of the corpus.
        files: Where they are read; named in the error.
        known: Number of documents by split, one mapping for each published edition.

    Raises:
        CorpusError: naming the counts that were found and those that were expected.
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
