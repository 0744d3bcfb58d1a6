"""Copies of the documents of shards in an object store on the disk of the node that searches them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from texthash.config import DOCUMENT_COPIES_BYTES
from texthash.index.storage.document_map import FOLDER, DocumentMap
from texthash.index.storage.file_digests import recorded
from texthash.io.local_copies import HeldCopy, LocalCopies, NoRoomError
from texthash.paths import node_cache
from texthash.progress import log_line

if TYPE_CHECKING:
    import lance


def document_copies(most_bytes: int = DOCUMENT_COPIES_BYTES) -> LocalCopies | None:
    """Return the copies of this node, in its cache; None if their budget is 0."""
    return LocalCopies(node_cache() / "documents", most_bytes) if most_bytes else None


def map_of(
    shard: Path, dataset: lance.LanceDataset, copies: LocalCopies | None, before: DocumentMap | None = None
) -> DocumentMap | None:
    """Open the map of a version of a shard; one in an object store by its copy, if there is room for it.

    Args:
        shard: Directory of the shard.
        dataset: Version of its documents.
        copies: Copies of this node; None for none.
        before: Map of another version, which is used again if it is the same file.
    """

    def copy(path: Path) -> HeldCopy | None:
        assert copies is not None
        known = recorded(shard).get(f"{FOLDER}/{path.name}")
        if known is None:
            return None
        try:
            return copies.hold(path, known.bytes, known.sha256)
        except NoRoomError as error:
            if path not in copies.refused:  # logged once, not after every write
                copies.refused.add(path)
                log_line(f"warning: searches read documents from the object store: {error}")
            return None

    return DocumentMap.of(shard, dataset, None if copies is None else copy, before)
