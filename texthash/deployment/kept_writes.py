"""Refusal to replace a release that holds writes by an index of the corpus alone, which would drop them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from texthash.errors import UsageError

if TYPE_CHECKING:
    from texthash.index.releases.release import Release


class WritesNotKeptError(UsageError):
    """Error raised before a release with documents that were written to it is replaced by one without these writes."""


def changed_since_built(release: Release) -> bool:
    """Return whether a release may hold other documents than the corpus that its index was built from.

    These are releases after a write, and those whose index was made from a live one by a promotion or a backup.
    """
    from texthash.index.releases.backup import RESTORED
    from texthash.index.writing.reencode import RECODED

    name = release.index_uri.rstrip("/").rpartition("/")[2]
    return release.parent is not None or name.endswith(RECODED) or RESTORED in name


def check_writes_kept(current: Release | None, version: str | None) -> None:
    """Check that a release over an index of a corpus drops no writes to the current release.

    Args:
        current: Release that would be replaced, if there is one.
        version: Version in the registry of the model that would be released, for the remedy.

    Raises:
        WritesNotKeptError: The current release was written to.
    """
    if current is None or not changed_since_built(current):
        return
    model = version or "MODEL"
    raise WritesNotKeptError(
        f"release {current.name} was changed after its index was built; its {current.documents} documents may not be "
        "those of the corpus. An index of the corpus would lack what was written and contain what was deleted: "
        "nothing was released.",
        f"`texthash serve promote {model}` serves the model over the documents of {current.name}; "
        "`texthash index build ... index.discard_writes=true` releases the corpus, and `texthash index rollback` goes "
        "back.",
    )
