"""Refusal to replace a release that holds writes by an index of the corpus alone, which would drop them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from texthash.errors import UsageError
from texthash.models.files import registered_name

if TYPE_CHECKING:
    from texthash.index.releases.release import Release


class WritesNotKeptError(UsageError):
    """Error raised before a release with documents that were written to it is replaced by one without these writes."""


def check_writes_kept(current: Release | None, name: str, version: str | None) -> None:
    """Check that a release over an index of a corpus drops no writes to the current release.

    Args:
        current: Release that would be replaced, if there is one.
        name: Registered name of the model that would be released. One of another name, which is of another corpus,
            edition or width, cannot be promoted over the documents of the release.
        version: Its version in the registry, for the remedy.

    Raises:
        WritesNotKeptError: The current release was written to.
    """
    if current is None or not current.was_written:
        return
    replace = (
        "`texthash index build ... index.discard_writes=true` releases the corpus, and `texthash index rollback` goes "
        "back."
    )
    if name == registered_name(current.corpus, current.edition, current.bits):
        promote = f"`texthash serve promote {version or 'MODEL'}` serves the model over the documents of {current.name}"
        remedy = f"{promote}; {replace}"
    else:
        remedy = f"give {name} a state directory of its own (TEXTHASH_HOME, --home), which keeps both; {replace}"
    raise WritesNotKeptError(
        f"release {current.name} was written to after its index was built; its {current.documents} documents may not "
        "be those of the corpus. An index of the corpus would lack what was written and contain what was deleted: "
        "nothing was released.",
        remedy,
    )
