"""Order of releases and the alias ``champion``: the alias follows a release, so it never names an unserved model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from texthash.errors import TexthashError
from texthash.io.claims import turn
from texthash.progress import log_line

if TYPE_CHECKING:
    from texthash.index.releases.release import Release
    from texthash.paths import StateDir
    from texthash.tracking.registry import Registry


class AliasNotMovedError(TexthashError):
    """Error raised when a release is served, but the alias ``champion`` could not be moved to its model."""


@contextmanager
def releasing(home: StateDir) -> Iterator[None]:
    """Lock the release of models during the block; wait for another process that holds the lock.

    Without it, two models that compete at once would both beat the same champion, and the worse one could be served in
    the end; and two promotions at once could leave the alias at the model that is not served.
    """
    path = home.state / "locks" / "release.lock"
    with turn(path):
        yield


def move_alias(registry: Registry, release: Release) -> None:
    """Make the model of the current release the champion of its name, if it has a version.

    Raises:
        AliasNotMovedError: The registry failed; the release remains current.
    """
    if release.model_version is None:
        return
    try:
        registry.promote(release.model, release.model_version)
    except TexthashError as error:
        raise AliasNotMovedError(
            f"release {release.name} is served, with {release.model} version {release.model_version}, but the alias "
            f"champion was not moved to that version: {error.problem}",
            f"once the store works again, run `texthash serve promote {release.model_version}`, which moves the alias.",
        ) from error
    log_line(f"promote: {release.model} version {release.model_version} is the champion")
