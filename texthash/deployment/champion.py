"""Releases are made one at a time, and the alias ``champion`` follows them: it never names what cannot be served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from texthash.errors import TexthashError
from texthash.io.atomic import exclusive
from texthash.progress import log_line

if TYPE_CHECKING:
    from texthash.index.releases.release import Release
    from texthash.paths import StateDir
    from texthash.tracking.registry import Registry


class AliasNotMovedError(TexthashError):
    """A release is served, and the alias ``champion`` does not name its model yet."""


@contextmanager
def releasing(home: StateDir) -> Iterator[None]:
    """Wait until no other process makes a release of another model, and keep others waiting during the block.

    Of two that compete at once each would beat the same champion, and the worse one could be served in the end; of two
    that promote at once, the alias could come to name the model that is not served.
    """
    with exclusive(home.root / "locks" / "release.lock"):
        yield


def move_alias(registry: Registry, release: Release) -> None:
    """Make the model of a release, which is current, the champion of its name. Nothing is done for a model without a
    version.

    Raises:
        AliasNotMovedError: the registry failed; the release stays current.
    """
    if release.model_version is None:
        return
    try:
        registry.promote(release.model, release.model_version)
    except TexthashError as error:
        raise AliasNotMovedError(
            f"release {release.name} is served, with {release.model} version {release.model_version}, but the alias "
            f"champion was not moved to that version: {error.problem}",
            f"when the store is well again: `texthash serve promote {release.model_version}` moves the alias alone.",
        ) from error
    log_line(f"promote: {release.model} version {release.model_version} is the champion")
