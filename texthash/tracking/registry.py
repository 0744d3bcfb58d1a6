"""Model registry: versions of one name compete on validation, and the best one is the champion."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texthash.errors import TexthashError
from texthash.io.outputs import is_writable
from texthash.tracking.address import full_address
from texthash.tracking.failures import StoreError, store_errors
from texthash.tracking.run import Run
from texthash.tracking.store import as_text, client_of
from texthash.uri import local_path_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"


class Registry:
    """Model registry of a store.

    Args:
        uri: Address of the store.
        copies: Directory of local copies of registered models.
    """

    def __init__(self, uri: str, copies: Path) -> None:
        self.uri = uri
        self._copies = copies

    @property
    def _client(self) -> MlflowClient:
        return client_of(self.uri)

    def register(
        self, name: str, model_id: str, run: Run, *, method: str, score: float | None, data: str, note: str = ""
    ) -> str:
        """Register a logged model as a version of a registered model, unless it is registered; return the version.

        Args:
            name: Name of the registered model (:func:`texthash.models.files.registered_name`).
            model_id: Id of the logged model, from :meth:`texthash.tracking.tracker.Tracker.log_model`.
            run: Run that logged the model.
            method: Name of its method, which the name of the registered model leaves open.
            score: Validation score that :meth:`is_better` compares; None if there is none.
            data: Digest of the data of that score (:func:`texthash.tracking.environment.data_digest`).
            note: Description of the version.
        """
        # A local registry resolves models:/<id> in the globally configured store, which this code never sets.
        remote = self.uri.startswith("http")
        source = f"models:/{model_id}" if remote else self._client.get_logged_model(model_id).artifact_location
        try:
            self._client.create_registered_model(name)
        except StoreError as error:
            if error.code != "RESOURCE_ALREADY_EXISTS":
                raise
        for version in self._client.search_model_versions(f"name = '{name}' and run_id = '{run.server_id}'"):
            if version.source == source:  # local stores do not record the model's id
                return str(version.version)
        created = self._client.create_model_version(
            name,
            source=source,
            run_id=run.server_id,
            tags={
                "method": method,
                "validation_metric": run.validation,
                "validation_score": as_text(score),
                "data_digest": data,
            },
            description=note or None,
            model_id=model_id,
        )
        return str(created.version)

    def is_better(self, name: str, candidate: str) -> tuple[bool, str]:
        """Return whether a version beats the champion on validation, with the reason in one sentence."""
        new = self._client.get_model_version(name, candidate)
        old = self._version(name)
        if old is None:
            return True, f"{name} has no champion yet"
        if str(old.version) == candidate:
            return False, f"version {candidate} is the champion already"
        for tag in ("validation_metric", "data_digest"):
            if old.tags.get(tag) != new.tags.get(tag):
                return False, (
                    f"version {old.version}, the champion, has another {tag} ({old.tags.get(tag)}) than version "
                    f"{candidate} ({new.tags.get(tag)}): not comparable; promote it with tracking.promote=always"
                )
        scores = [json.loads(model.tags["validation_score"]) for model in (new, old)]
        if None in scores:
            return True, f"version {candidate} replaces version {old.version}: there are no figures to compare"
        ours, theirs = scores
        verdict = "beats" if ours > theirs else "does not beat"
        return ours > theirs, (
            f"version {candidate} with {new.tags['validation_metric']} {ours:.4f} {verdict} the champion, "
            f"version {old.version}, with {theirs:.4f}"
        )

    def promote(self, name: str, candidate: str) -> None:
        """Assign the alias ``champion`` to a version."""
        self._client.set_registered_model_alias(name, CHAMPION, candidate)

    def has_champion(self, name: str) -> bool:
        """Return whether a version has the alias ``champion``."""
        return self._version(name) is not None

    def champion(self, name: str) -> tuple[Path, str]:
        """Return a local directory with the champion's saved hasher, and its version.

        Raises:
            TexthashError: The model does not exist, or has no champion.
        """
        found = self._version(name)
        if found is None:
            raise TexthashError(
                f"{name} has no champion in {self.uri}.",
                "train a model and run `texthash index build`, or run pipelines/full.py.",
            )
        return self.fetch(name, str(found.version)), str(found.version)

    def _version(self, name: str) -> Any:
        try:
            return self._client.get_model_version_by_alias(name, CHAMPION)
        except StoreError as error:
            if error.code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def fetch(self, name: str, candidate: str) -> Path:
        """Return a local directory with a version's saved hasher.

        It is downloaded once; where copies cannot be written, a model of this machine is read where it is.

        Raises:
            TexthashError: The version does not exist, or has no files.
        """
        from mlflow.artifacts import download_artifacts

        target = self._copies / name / candidate
        if not target.is_dir():
            source = self._source(name, candidate)
            here = local_path_of(source)
            if here is not None and not here.is_dir():
                raise TexthashError(
                    f"version {candidate} of {name} has no files: {here} does not exist.",
                    f"restore them, or give the alias {CHAMPION} to a version that has its files, in MLflow.",
                )
            if here is not None and not is_writable(target.parent):
                return _data_of(here)
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent) as scratch:
                with store_errors(self.uri, f"fetching {name} version {candidate}"):
                    model = download_artifacts(
                        artifact_uri=source, dst_path=scratch, tracking_uri=full_address(self.uri)
                    )
                data = _data_of(Path(model))
                try:
                    data.rename(target)
                except OSError:  # another process was faster: its copy is the same
                    if not target.is_dir():
                        raise
        return target

    def _source(self, name: str, candidate: str) -> str:
        try:
            return self._client.get_model_version_download_uri(name, candidate)
        except StoreError as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise TexthashError(
                f"{name} has no version {candidate} in {self.uri}.", "`texthash index build` registers a model."
            ) from None


def _data_of(model: Path) -> Path:
    """Return the directory of the saved hasher in a downloaded MLflow model.

    Raises:
        TexthashError: The model is not one of texthash, or names a directory outside of it.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model
    from yaml import YAMLError

    remedy = "register the model again."
    try:
        name = Model.load(str(model)).flavors["python_function"]["data"]
    except (MlflowException, YAMLError, KeyError, TypeError, ValueError) as error:
        raise TexthashError(f"{model.name}/MLmodel is broken, or not one of texthash: {error!r}.", remedy) from error
    data = model / str(name)
    if not data.resolve().is_relative_to(model.resolve()) or not data.is_dir():
        raise TexthashError(f"{model.name}/MLmodel is broken: its data {name!r} is no directory in it.", remedy)
    return data
