"""Release of a trained model: its registration, index, release and alias."""

from __future__ import annotations

from typing import TYPE_CHECKING

from texthash.deployment.champion import move_alias, releasing
from texthash.deployment.kept_writes import check_writes_kept
from texthash.errors import ModelMismatchError, UsageError
from texthash.executor import Executor, LocalExecutor
from texthash.experiments.experiment import Experiment
from texthash.experiments.trained_models import TrainedModel
from texthash.io.audit import audited
from texthash.methods.base import check_searchable
from texthash.methods.registry import get_method
from texthash.progress import log_line, warn
from texthash.tracking import StoreUnavailableError

if TYPE_CHECKING:
    from texthash.index.releases.release import Release


def register(experiment: Experiment, model: TrainedModel) -> str:
    """Register a model, and return its version.

    Raises:
        StoreUnavailableError: The tracking server has been unavailable since the model was trained, which is complete
            on disk.
        UsageError: The model only re-ranks.
    """
    check_searchable(get_method(model.config.method.name).card)  # else it could become the champion, which is indexed
    name = experiment.model_name
    experiment.tracker.outbox.flush(experiment.tracker.uri)
    model_id = model.model_id or model.run.model_id
    if model_id is None:
        refused = model.run.run_id in experiment.tracker.outbox.refused()
        why = "has refused it" if refused else "does not answer"
        first = "restore its run in MLflow, or let the server take its files" if refused else "start the server"
        sync = "texthash sync --refused" if refused else "texthash sync"
        raise StoreUnavailableError(
            f"{model.name} cannot be registered: {experiment.tracker.uri} {why}. It is trained, and stored "
            f"in {model.directory}.",
            f"{first}; then `{sync}` and `texthash index build {model.name}`.",
        )
    version = experiment.tracker.registry.register(
        name,
        model_id,
        model.run,
        method=model.config.method.name,
        score=model.validation,
        data=model.data,
        note=f"{model.config.method.name}, seed {model.config.training.seed}, {experiment.describe_score(model)}",
    )
    log_line(f"register: {model.config.method.name} is version {version} of {name}")
    return version


def has_nothing_to_release(experiment: Experiment, version: str | None) -> bool:
    """Return whether ``tracking.promote=never`` forbids the registered model, and no champion is there in its place."""
    never = version is not None and experiment.config.tracking.promote == "never"
    return never and not experiment.tracker.registry.has_champion(experiment.model_name)


def make_release(
    experiment: Experiment, model: TrainedModel, version: str | None, *, executor: Executor = LocalExecutor()
) -> Release:
    """Release a model if it qualifies: build its index, publish a release, and move the alias.

    A registered model competes with the champion of its name (``tracking.promote``); if it loses, the champion is
    released. The alias moves after the release is published, so it never names a model that cannot be served.

    Args:
        experiment: Experiment that determines the corpus, the number of shards and the rule.
        model: Candidate for the release.
        version: Version in the registry, from :func:`register`; None for a model that is not registered, which is
            released regardless of the champion.
        executor: Executor that builds the index.

    Raises:
        AliasNotMovedError: The model is served, but the registry failed.
        ModelMismatchError: The champion wins, but does not fit the corpus.
        UsageError: The model only re-ranks, or nothing may be released: :func:`has_nothing_to_release`.
        WritesNotKeptError: The current release was written to, and ``index.discard_writes`` is not set.
    """
    check_searchable(get_method(model.config.method.name).card)
    if has_nothing_to_release(experiment, version):
        raise UsageError(
            f"{experiment.model_name} has no champion, and tracking.promote=never makes none: nothing is released.",
            "set tracking.promote to if_better or always.",
        )
    with releasing(experiment.home), audited(experiment.home, "release", model_version=version) as facts:
        release = _make_release(experiment, model, version, executor)
        facts.update(documents=release.documents, release=release.name)
        return release


def _make_release(experiment: Experiment, model: TrainedModel, version: str | None, executor: Executor) -> Release:
    from texthash.deployment.known_items import choose_defaults
    from texthash.index.keywords.weights import WordWeights
    from texthash.index.releases.publish import publish
    from texthash.index.releases.release import current_name, read_release
    from texthash.index.storage.shard_format import kind_of, read_manifest
    from texthash.index.writing.build import build_index
    from texthash.models.hasher import Hasher

    name, hasher, settings = experiment.model_name, model.hasher, experiment.config.index
    weights = WordWeights.of_config(settings)
    run: str | None = model.run.run_id
    commit: str | None = model.commit
    promote = version is not None and _qualifies(experiment, name, version)
    before = None if current_name(experiment.home) is None else read_release(experiment.home)
    if version is not None and not promote:
        hasher, version = experiment.tracker.registry.champion(name)
        run, commit = None, None
        if before is not None:
            same_model = (before.model, before.model_version) == (name, version)
            built = read_manifest(experiment.home.path(before.shards[0].uri)).weights
            stored = len(before.shards), kind_of(before.vectors), before.keywords, built
            if same_model and stored == (settings.shards, settings.vectors, settings.keywords, weights):
                return before
    if not settings.discard_writes:
        check_writes_kept(before, name, version)
    where = (hasher, experiment.corpus.path, experiment.home, settings.shards, settings.vectors, settings.keywords)
    try:
        index = build_index(*where, weights=weights, executor=executor)
    except ModelMismatchError as error:
        if hasher == model.hasher:
            raise
        # The candidate fits the corpus, so the champion was trained before the corpus changed.
        raise ModelMismatchError(
            f"the champion, {name} version {version}, does not fit the present corpus: {error.problem}",
            "release the new model regardless of the champion's metrics: tracking.promote=always.",
        ) from error
    release = publish(
        experiment.home,
        hasher,
        index,
        model=name,
        model_version=version,
        run=run,
        commit=commit,
        defaults=choose_defaults(Hasher.load(hasher), experiment.corpus, index),
        replaceable=None if settings.discard_writes else lambda current: check_writes_kept(current, name, version),
    )
    if promote:
        move_alias(experiment.tracker.registry, release)
    log_line(f"release: {release.name}, {release.documents} documents, {release.bits} bits")
    if before is not None and before.corpus != release.corpus:
        warn(
            f"Searches now find documents of {release.corpus}; before it was {before.corpus}. "
            "`texthash index rollback` goes back; a TEXTHASH_HOME for each corpus keeps them apart."
        )
    return release


def _qualifies(experiment: Experiment, name: str, version: str) -> bool:
    rule = experiment.config.tracking.promote
    if rule != "if_better":
        log_line(f"promote: tracking.promote={rule}")
        return rule == "always"
    better, why = experiment.tracker.registry.is_better(name, version)
    log_line(f"promote: {why}")
    return better
