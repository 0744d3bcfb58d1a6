"""Refusal to replace a release that holds writes by an index of the corpus alone, which would drop them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from texthash.errors import UsageError

if TYPE_CHECKING:
    from texthash.index.releases.release import Release


class WritesNotKeptError(UsageError):
    """Error raised before a release with documents that were written to it is replaced by one without these writes."""


def check_writes_kept(current: Release | None, version: str | None) -> None:
    """Check that a release over an index of a corpus drops no writes to the current release.

    Args:
        current: Release that would be replaced, if there is one.
        version: Version in the registry of the model that would be released, for the remedy.

    Raises:
        WritesNotKeptError: The current release was written to.
    """
    if current is None or not current.was_written:
        return
    model = version or "MODEL"
    raise WritesNotKeptError(
        f"release {current.name} was written to after its index was built; its {current.documents} documents may not "
        "be those of the corpus. An index of the corpus would lack what was written and contain what was deleted: "
        "nothing was released.",
        f"`texthash serve promote {model}` serves the model over the documents of {current.name}; "
        "`texthash index build ... index.discard_writes=true` releases the corpus, and `texthash index rollback` goes "
        "back.",
    )
