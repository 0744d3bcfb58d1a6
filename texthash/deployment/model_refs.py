"""References to saved models: released, registered, trained, or in a directory."""

from __future__ import annotations

from pathlib import Path

from texthash.config import TrackingConfig
from texthash.experiments.trained_models import find_model
from texthash.index.releases.release import read_release
from texthash.io.copies import at_hand
from texthash.paths import StateDir
from texthash.tracking.registry import CHAMPION

RELEASED = "released"


def saved_hasher(home: StateDir, name: str) -> Path:
    """Return the directory of a saved model.

    Args:
        home: State directory.
        name: Reference to the model: ``released`` for the served one; ``champion`` or a version number for its name in
            the registry; ``NAME@champion`` or ``NAME/VERSION`` for another name; a directory of ``Hasher.save``; or a
            trained model by directory or name, or ``latest``.

    Raises:
        TexthashError: There is no such model.
    """
    if name == RELEASED:
        release = read_release(home)
        release.check_model(home)
        return at_hand(home.path(release.model_uri))
    registered, _, version = name.replace("@", "/").rpartition("/")
    if version == CHAMPION or (version.isdigit() and not Path(name).is_dir()):
        return _registered(home, registered or read_release(home).model, version)
    if (Path(name) / "hasher.json").is_file():
        return Path(name).absolute()
    return find_model(home, name).hasher


def _registered(home: StateDir, name: str, version: str) -> Path:
    from texthash.tracking import check_store
    from texthash.tracking.registry import Registry

    registry = Registry(check_store(TrackingConfig(), home, written=False), home.root / "models")
    return registry.champion(name)[0] if version == CHAMPION else registry.fetch(name, version)
