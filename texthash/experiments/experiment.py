"""A study: hyper-parameters are searched, models trained on them, evaluated and described."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texthash.config import Config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import ModelMismatchError, UsageError
from texthash.experiments.trained_models import EpochNotes, TrainedModel, is_model, make_report
from texthash.io.atomic import claimed
from texthash.methods.registry import as_printed, decisive, resolved
from texthash.paths import StateDir
from texthash.progress import log_line
from texthash.tracking import Run, Tracker, commit, data_digest

if TYPE_CHECKING:
    from texthash.evaluation.results import Evaluation
    from texthash.training.loop import TrainingResult
    from texthash.tuning.sweep import Sweep, SweepResult


class Experiment:
    """One configuration over one prepared corpus.

    Args:
        config: What to do.
        home: Where state is kept.
        corpus: The prepared corpus.

    Raises:
        TexthashError: the tracking store cannot be reached.
    """

    def __init__(self, config: Config, home: StateDir, corpus: PreparedCorpus) -> None:
        from texthash.evaluation.protocol import EvaluationProtocol

        self.config, self.home, self.corpus = config, home, corpus
        manifest = corpus.manifest
        self.label = f"{manifest.name}-{manifest.edition}-{config.method.bits}b"
        self.tracker = Tracker(config.tracking, home, f"texthash-{manifest.name}-{manifest.edition}")
        self.protocol = EvaluationProtocol(corpus, config.evaluation)
        self.metric = f"val/{self.protocol.metric}"
        self.measurable = self.protocol.measurable
        self.model_name = f"texthash-{manifest.name}-{manifest.edition}-{config.method.bits}"

    # -- search and training ----------------------------------------------------------------------------------

    def start(self, name: str = "study", searched: Iterable[str] = ()) -> Run:
        """Start the run in which those of trials and final models are nested.

        Args:
            name: How the name of the run begins.
            searched: Hyper-parameters that each trial has a value of its own for; the others are logged.
        """
        varied = {f"method.params.{parameter}" for parameter in searched}
        return self.tracker.start(
            f"{name}-{self.config.method.name}-{self.label}",
            params={key: value for key, value in resolved(self.config).flat().items() if key not in varied},
            tags={"kind": "study", **self._tags(self.config)},
            note=f"{self.config.method.name} on {self.label}: search, final models, evaluation.",
            validation=self.metric,
        )

    def search(self) -> tuple[Run, SweepResult]:
        """Search hyper-parameters by ``config.tuning`` on the Ray cluster; gives the study's run and the outcome.

        With ``tuning.resume``, the latest unfinished sweep of the same configuration goes on, in its own run; where its
        trials have all ended, with what they found. It is unfinished until :func:`texthash.deployment.finish.finish`
        has trained the final models.
        """
        from texthash.tuning.spaces import check_sweep
        from texthash.tuning.sweep import open_sweep

        check_sweep(self.config)
        if not self.measurable:
            raise UsageError(
                f"no document of {self.label} has a label, and none of validation two known words, so trials cannot be "
                "told apart.",
                "set tuning.trials=0.",
            )
        sweep = open_sweep(self.config, self.corpus, self.home)
        with sweep.held():
            return self._search(sweep)

    def _search(self, sweep: Sweep) -> tuple[Run, SweepResult]:
        from texthash.tuning.spaces import free_space
        from texthash.tuning.sweep import run_sweep

        if sweep.study:
            run = self.tracker.resume(sweep.study, self.metric)
        else:
            run = self.start(searched=free_space(self.config))
        run.dataset(self.corpus)
        if sweep.result is not None:
            log_line(f"tune: all trials of {sweep.directory.name} have ended; going on with what they found")
            return run, sweep.result
        try:
            found = run_sweep(sweep, self.config, self.corpus, self.tracker, run, self.protocol.validator())
        except BaseException as error:
            run.__exit__(type(error), error, None)
            raise
        run.tags({f"best.{name}": value for name, value in found.params.items()})
        run.metrics({self.metric: found.validation})
        run.text(json.dumps([asdict(trial) for trial in found.trials], indent=1), "trials.json")
        log_line(f"tune: best {self.metric} {found.validation:.4f} with {found.params}")
        return run, found

    def with_params(self, params: dict[str, Any]) -> Experiment:
        """The same study with hyper-parameters that a search has found."""
        other = copy.copy(self)
        other.config = self.config.derive(method={"params": {**self.config.method.params, **params}})
        return other

    def run_config(self, seed: int) -> Config:
        """The configuration of one run: with its seed, and every hyper-parameter by name."""
        return resolved(self.config.derive(training={"seed": seed}))

    def train(self, seed: int, *, parent: Run | None = None, distributed: bool = False) -> TrainedModel:
        """Train one model and save it.

        A run that was interrupted goes on from its last epoch, in its own tracking run, when the same configuration
        is trained again (unless ``training.resume`` is false).

        Args:
            seed: Of initial weights, order and noise.
            parent: The study's run.
            distributed: Train on the Ray cluster of this process rather than in this process.

        Raises:
            InUseError: another process trains the same at this moment.
        """
        config = self.run_config(seed)
        name = f"{config.method.name}-{self.label}-s{seed}"
        if config.method.preset == "paper":
            log_line(f"train {name}: {as_printed(config.method)}")
        checkpoints = self.home.runs / "checkpoints" / f"{name}-{self._identity(config)}"
        lock = checkpoints.with_name(f".{checkpoints.name}.lock")
        with claimed(lock, f"the training {name}", "wait until it ends, or train with another seed or configuration."):
            return self._train(config, name, checkpoints, parent, distributed)

    def _train(
        self, config: Config, name: str, checkpoints: Path, parent: Run | None, distributed: bool
    ) -> TrainedModel:
        from texthash.models.hasher import Hasher

        training, key, seed = config.training, checkpoints.name, config.training.seed
        run = self.tracker.find(key, self.metric) if checkpoints.exists() and training.resume else None
        if run is None:
            shutil.rmtree(checkpoints, ignore_errors=True)
            tags = {"kind": "model", "seed": seed, **self._tags(config)}
            note = f"{config.method.name} on {self.label}, seed {seed}."
            run = self.tracker.start(
                name, parent=parent, params=config.flat(), tags=tags, note=note, key=key, validation=self.metric
            )
        elif parent:
            run.tags({"mlflow.parentRunId": parent.run_id})
        directory = self.home.runs / "models" / f"{name}-{run.run_id[:8]}"
        try:
            run.dataset(self.corpus)
            started = time.monotonic()
            result = self._fit(config, checkpoints, EpochNotes(run, f"train {name}"), distributed)
            seconds = time.monotonic() - started
            shutil.rmtree(directory, ignore_errors=True)  # left where this very run was killed before
            directory.mkdir(parents=True)
            saved = Hasher.of(result.method.cpu(), self.corpus).save(directory / "hasher")
            model_id = self.tracker.log_model(saved, run, name, _texts(self.corpus, 3))
        except BaseException as error:
            shutil.rmtree(directory, ignore_errors=True)
            run.__exit__(type(error), error, None)
            raise
        model = TrainedModel(
            directory=directory,
            config=config,
            run=run,
            model_id=model_id,
            validation=result.best_validation,
            seconds=seconds,
            history=result.history,
            data=data_digest(self.corpus),
            commit=commit(),
        )
        model.write()
        run.end()
        shutil.rmtree(checkpoints, ignore_errors=True)
        log_line(f"train {name}: {self.figure(model)} in {seconds:.1f} s; saved in {directory}")
        return model

    def trained(self, seed: int, parent: Run) -> TrainedModel | None:
        """The model that :meth:`train` has made of this configuration for a run before; None if it has not."""
        config = self.run_config(seed)
        for directory in (self.home.runs / "models").glob(f"{config.method.name}-{self.label}-s{seed}-*"):
            if not is_model(directory):
                continue
            model = TrainedModel.read(directory)
            same = self._identity(model.config) == self._identity(config) and model.data == data_digest(self.corpus)
            if same and model.run.read_tags().get("mlflow.parentRunId") == parent.server_id:
                return model
        return None

    def figure(self, model: TrainedModel) -> str:
        """The model's validation figure in words."""
        return "not judged" if model.validation is None else f"{self.metric} {model.validation:.4f}"

    def _fit(self, config: Config, checkpoints: Path, notes: EpochNotes, distributed: bool) -> TrainingResult:
        method, training = config.method, config.training
        validate = self.protocol.validator() if self.measurable else None
        if distributed:
            from texthash.training.on_ray import train_distributed

            return train_distributed(
                method,
                self.corpus.path,
                training,
                storage=checkpoints.parent,
                name=checkpoints.name,
                validate=validate,
                on_epoch=notes,
                encoder=config.corpus.features,
            )
        from texthash.methods.registry import build
        from texthash.training.checkpoints import LocalCheckpointer
        from texthash.training.loop import fit

        if training.workers > 1:
            raise UsageError(
                f"training.workers={training.workers} need a Ray cluster, and this is one process.",
                "use pipelines/train.py or `texthash train --address`, or set training.workers=1.",
            )
        shape = self.corpus.shape_with(config.corpus.features)
        untrained = build(method.name, shape, method.bits, method.params, training.seed)
        return fit(
            untrained,
            self.corpus.train,
            training,
            validate=validate,
            on_epoch=notes,
            checkpointer=LocalCheckpointer(checkpoints),
        )

    def _tags(self, config: Config) -> dict[str, Any]:
        manifest = self.corpus.manifest
        return {
            "method": config.method.name,
            "bits": config.method.bits,
            "corpus": manifest.name,
            "edition": manifest.edition,
            "data_digest": data_digest(self.corpus),
        }

    def _identity(self, config: Config) -> str:
        """Digest of what decides the weights: a checkpoint is only taken up by the very same configuration."""
        decides = {
            "data": data_digest(self.corpus),
            "features": config.corpus.features,
            "method": decisive(config.method),
            "training": config.training.model_dump(mode="json", exclude={"resume", "max_failures", "cpus_per_worker"}),
            "judged_by": [config.evaluation.k, config.evaluation.selection_metric],
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:10]

    # -- evaluation -------------------------------------------------------------------------------------------

    def evaluate(self, model: TrainedModel, *, test: bool) -> dict[str, Evaluation]:
        """All figures of a final model, on validation and, where ``test`` is set, on test; logs and keeps them.

        What a model's directory holds is not found again, so that its test figures stay those of the first look.
        Figures of a corpus without labels are those of halves of documents, named ``halves_...``. On validation, what
        methods without learning reach is logged beside them, as ``floor/...``. Where the codes of the validation split
        have collapsed, the run is tagged ``codes.collapsed`` with the reason in ``codes.warning``.
        """
        from texthash.evaluation.baselines.floor import floor_metrics, with_floor
        from texthash.evaluation.diagnostics import collapse_warning, diagnose
        from texthash.evaluation.results import Evaluation
        from texthash.models.hasher import Hasher

        hasher = Hasher.load(model.hasher)
        hasher.check_corpus(self.corpus)
        last = model.history[-1].number
        allow_few_codes = hasher.method.card.supervision == "labels"
        if not self.measurable:
            codes = diagnose(hasher.encode_split(self.corpus.train))
            model.run.metrics({f"codes/{k}": v for k, v in codes.items()}, step=last + 1)
            log_line(f"evaluate {model.name}: there are no labels or halves of documents to measure by")
            unseen = hasher.encode_split(self.corpus.validation)
            collapse = (
                collapse_warning(diagnose(unseen), hasher.bits, len(unseen), allow_few_codes) if len(unseen) else None
            )
            if collapse:
                log_line(f"  warning: {collapse}")
            model.run.tags(_collapse_tags(collapse))
            return {}
        found: dict[str, Evaluation] = {}
        for split in ("validation", "test") if test else ("validation",):
            place = model.directory / split
            if place.is_dir():
                found[split] = Evaluation.load(place)
                continue
            if split == "test":
                evaluation = self.protocol.evaluate_test_once(hasher, model.name, allow_few_codes=allow_few_codes)
            else:
                evaluation = with_floor(
                    self.protocol.evaluate_validation(hasher, allow_few_codes=allow_few_codes), self.corpus, hasher
                )
                model.run.metrics(floor_metrics(evaluation), step=last + 1)
            found[split] = evaluation
            evaluation.save(place)
            prefix = "val" if split == "validation" else split
            # One step after the last epoch: the newest point of val/... belongs to the weights that were kept.
            figures = {f"{prefix}/{k}": v for k, v in evaluation.named_metrics.items()}
            model.run.metrics(figures, step=last + 1, model_id=model.model_id)
            model.run.artifact(place, "evaluation/" + split)
            log_line(f"evaluate {model.name}: {split} {evaluation.headline}")
            if evaluation.references:
                log_line(f"  beside it: {evaluation.floor_line}")
            for warning in evaluation.warnings:
                log_line(f"  warning: {warning}")
            if split == "validation":
                model.run.metrics({f"codes/{k}": v for k, v in evaluation.diagnostics.items()}, step=last + 1)
                model.run.tags(_collapse_tags(evaluation.collapse))
        return found

    def report(self, models: Sequence[TrainedModel], run: Run) -> Path | None:
        """Describe evaluated models on one page, with plots; kept beside the first one and with ``run``.

        Where nothing can be measured there are no figures, and no page.
        """
        run.text(models[0].config.to_yaml(), "config.yaml")
        if not self.measurable:
            return None
        place = models[0].directory / "report"
        shutil.rmtree(place, ignore_errors=True)
        page = make_report(models, label_names=self.corpus.label_names).save(place)
        run.artifact(place)
        return page


def prepare(config: Config, home: StateDir, *, distributed: bool) -> PreparedCorpus:
    """Prepare the corpus, on the Ray cluster of this process or in this process, or find it prepared; with the vectors
    of ``corpus.features``, where that names a sentence encoder."""
    if distributed:
        from texthash.corpora.preparation.on_ray import prepare as on_ray

        corpus = PreparedCorpus.open(on_ray(config.corpus, home))
    else:
        from texthash.corpora.preparation.steps import prepare_locally

        corpus = PreparedCorpus.open(prepare_locally(config.corpus, home))
    if config.corpus.features:
        from texthash.corpora.prepared.embeddings.cache import encode_here, ensure_features
        from texthash.corpora.prepared.embeddings.on_ray import encode_on_ray

        ensure_features(corpus, config.corpus.features, encode_on_ray if distributed else encode_here)
    return corpus


def corpus_of(model: TrainedModel, home: StateDir) -> PreparedCorpus:
    """The prepared corpus that a model was trained on.

    Raises:
        TexthashError: it is not there any more, or is another one now.
    """
    corpus = PreparedCorpus.open(home.corpus(*model.edition))
    if data_digest(corpus) != model.data:
        raise ModelMismatchError(
            f"{model.name} was trained on data {model.data}, {corpus.path} holds {data_digest(corpus)}.",
            "train the model again on what is there now.",
        )
    return corpus


def _collapse_tags(warning: str | None) -> dict[str, Any]:
    return {"codes.collapsed": warning is not None, **({"codes.warning": warning} if warning else {})}


def _texts(corpus: PreparedCorpus, count: int) -> list[str]:
    for table in corpus.validation.documents(count):
        return [" ".join(text.split())[:200] for text in table["text"].to_pylist()]
    return ["an example"]
