"""From a trained model to what is served: the registry, the index, the release, the alias."""

from __future__ import annotations

from typing import TYPE_CHECKING

from texthash.deployment.champion import move_alias, releasing
from texthash.errors import ModelMismatchError
from texthash.executor import Executor, LocalExecutor
from texthash.experiments.experiment import Experiment
from texthash.experiments.trained_models import TrainedModel
from texthash.progress import log_line
from texthash.tracking import StoreUnavailableError

if TYPE_CHECKING:
    from texthash.index.releases.release import Release


def register(study: Experiment, model: TrainedModel) -> str:
    """Register a model; gives the version.

    Raises:
        StoreUnavailableError: the tracking server has been away since the model was logged; it is complete on disk.
    """
    name = study.model_name
    study.tracker.outbox.flush(study.tracker.uri)
    model_id = model.model_id or model.run.model_id
    if model_id is None:
        raise StoreUnavailableError(
            f"{model.name} cannot be registered: {study.tracker.uri} does not answer. It is trained, and kept in "
            f"{model.directory}.",
            f"start the server; then `texthash sync` and `texthash index build {model.name}`.",
        )
    version = study.tracker.registry.register(
        name,
        model_id,
        model.run,
        score=model.validation,
        data=model.data,
        note=f"{model.config.method.name}, seed {model.config.training.seed}, {study.describe_score(model)}",
    )
    log_line(f"register: {name} version {version}")
    return version


def make_release(
    study: Experiment, model: TrainedModel, version: str | None, *, executor: Executor = LocalExecutor()
) -> Release:
    """Make the model the one that is served, if it deserves it: build its index, publish, move the alias.

    A registered model competes with the champion of its name (``tracking.promote``); where it loses, the champion
    is what is served. The alias moves after the release is published, so it never names what cannot be served.

    Args:
        study: Gives the corpus, the number of shards and the rule.
        model: The candidate.
        version: In the registry, from :func:`register`; None: not registered, and released whatever the champion.
        executor: Builds the index.

    Raises:
        AliasNotMovedError: the model is served, and the registry failed.
        ModelMismatchError: the champion, which wins, does not fit the corpus.
    """
    with releasing(study.home):
        return _make_release(study, model, version, executor)


def _make_release(study: Experiment, model: TrainedModel, version: str | None, executor: Executor) -> Release:
    from texthash.index.releases.publish import publish
    from texthash.index.releases.release import current_name, read_release
    from texthash.index.storage.shard_format import kind_of
    from texthash.index.writing.build import build_index

    name, hasher, settings = study.model_name, model.hasher, study.config.index
    run: str | None = model.run.run_id
    commit: str | None = model.commit
    promote = version is not None and _deserves(study, name, version)
    if version is not None and not promote:
        hasher, version = study.tracker.registry.champion(name)
        run, commit = None, None
        if current_name(study.home) is not None:
            current = read_release(study.home)
            same_model = (current.model, current.model_version) == (name, version)
            if same_model and (len(current.shards), kind_of(current.vectors)) == (settings.shards, settings.vectors):
                return current
    where = (hasher, study.corpus.path, study.home, settings.shards, settings.vectors)
    try:
        index = build_index(*where, executor=executor)
    except ModelMismatchError as error:
        if hasher == model.hasher:
            raise
        # The candidate fits the corpus, so it is the champion that was trained before the corpus changed.
        raise ModelMismatchError(
            f"the champion, {name} version {version}, does not fit the corpus as it is prepared now: {error.problem}",
            "release the new model whatever the champion's figures: tracking.promote=always.",
        ) from error
    release = publish(study.home, hasher, index, model=name, model_version=version, run=run, commit=commit, switch=True)
    if promote:
        move_alias(study.tracker.registry, release)
    log_line(f"release: {release.name}, {release.documents} documents, {release.bits} bits")
    return release


def _deserves(study: Experiment, name: str, version: str) -> bool:
    rule = study.config.tracking.promote
    if rule != "if_better":
        log_line(f"promote: tracking.promote={rule}")
        return rule == "always"
    better, why = study.tracker.registry.is_better(name, version)
    log_line(f"promote: {why}")
    return better
