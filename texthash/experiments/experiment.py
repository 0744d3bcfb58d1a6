"""Experiments: search of hyper-parameters, training of models, their evaluation and report."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texthash.config import IRRELEVANT_TO_WEIGHTS, Config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import UsageError
from texthash.experiments.trained_models import (
    EpochLogger,
    TrainedModel,
    make_report,
    model_directories,
    next_number,
    readable_models,
)
from texthash.io.atomic import is_local, remove_directory
from texthash.io.claims import claim
from texthash.io.copies import send
from texthash.methods.registry import as_printed, decisive, found, get_method, resolved
from texthash.models.files import TRAINED, registered_name
from texthash.paths import StateDir
from texthash.progress import log_line
from texthash.tracking import Run, Tracker, commit, data_digest

if TYPE_CHECKING:
    from texthash.evaluation.results import Evaluation
    from texthash.training.loop import TrainingResult
    from texthash.tuning.sweep_record import Sweep, SweepResult


def _selected_as_used(config: Config, corpus: PreparedCorpus) -> Config:
    """Return the configuration in which a method that only re-ranks is selected by how it re-ranks."""
    only_reranks = get_method(config.method.name).card.only_reranks
    if not (only_reranks and corpus.manifest.pairs) or config.evaluation.selection_metric is not None:
        return config
    return config.derive(evaluation={"selection_metric": "pool_mrr"})


class Experiment:
    """One configuration on one prepared corpus.

    Args:
        config: Configuration of the experiment.
        home: State directory.
        corpus: Prepared corpus.
        shown: Warnings that were shown before, as those of the corpus are in a study of many experiments on it.

    Raises:
        TexthashError: The tracking store cannot be used.
    """

    def __init__(self, config: Config, home: StateDir, corpus: PreparedCorpus, *, shown: Iterable[str] = ()) -> None:
        from texthash.evaluation.protocol import EvaluationProtocol

        config = _selected_as_used(config, corpus)
        self.config, self.home, self.corpus = config, home, corpus
        self._shown = {*shown}
        manifest = corpus.manifest
        self.label = f"{manifest.name}-{manifest.edition}-{config.method.bits}b"
        self.tracker = Tracker(config.tracking, home, f"texthash-{manifest.name}-{manifest.edition}")
        self.protocol = EvaluationProtocol(corpus, config.evaluation)
        self.metric = f"val/{self.protocol.metric}"
        self.measurable = self.protocol.measurable and (self.protocol.has_relevance or _encodes_halves(config))
        self.model_name = registered_name(manifest.name, manifest.edition, config.method.bits)

    # -- search and training ----------------------------------------------------------------------------------

    def start(self, name: str = "study", searched: Iterable[str] = ()) -> Run:
        """Start the parent run of the runs of trials and final models.

        Args:
            name: Prefix of the run's name.
            searched: Hyper-parameters that vary between trials; only the others are logged.
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
        """Search hyper-parameters by ``config.tuning`` on the Ray cluster; return the parent run and the result.

        With ``tuning.resume``, the latest unfinished sweep of the same configuration is resumed in its own run; if all
        its trials have ended, its result is returned. A sweep is unfinished until
        :func:`texthash.deployment.finish.finish` has trained the final models.

        Raises:
            UsageError: Models cannot be compared on validation.
        """
        from texthash.tuning.spaces import check_sweep
        from texthash.tuning.sweep_record import open_sweep

        check_sweep(self.config)
        if not self.measurable:
            raise UsageError(
                f"no document of {self.label} has a label, and none of validation two known words, so trials cannot be "
                "compared.",
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
            log_line(f"tune: all trials of {sweep.directory.name} have ended; continuing with their result")
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

    def without_search(self) -> tuple[Run, Path]:
        """Return the parent run of final models without a search, and the directory of its record.

        One that was interrupted goes on in its own run, as a search does.
        """
        from texthash.tuning.sweep_record import open_sweep

        sweep = open_sweep(self.config, self.corpus, self.home)
        if sweep.study:
            return self.tracker.resume(sweep.study, self.metric), sweep.directory
        run = self.start()
        sweep.study = run.run_id
        sweep.write()
        return run, sweep.directory

    def with_params(self, params: dict[str, Any]) -> Experiment:
        """Return the same experiment with other hyper-parameters, such as those of a search."""
        other = copy.copy(self)
        other.config = self.config.derive(method={"params": {**self.config.method.params, **params}})
        return other

    def run_config(self, seed: int) -> Config:
        """Return the resolved configuration of one run, with its seed and every hyper-parameter."""
        return resolved(self.config.derive(training={"seed": seed}))

    def train(self, seed: int, *, parent: Run | None = None, distributed: bool = False) -> TrainedModel:
        """Train one model and save it.

        Training that was interrupted resumes from its last epoch, in its own tracking run, when the same configuration
        is trained again (unless ``training.resume`` is false).

        Args:
            seed: Random seed of initial weights, order of documents and noise.
            parent: Parent run of the experiment.
            distributed: Train on the Ray cluster of this process rather than in this process.

        Raises:
            InUseError: Another process is training the same configuration.
        """
        config = self.run_config(seed)
        name = f"{config.method.name}-{self.label}-s{seed}"
        if config.method.preset == "paper":
            log_line(f"train {name}: {as_printed(config.method)}")
        elif config.method.preset == "tuned":
            log_line(f"train {name}: settings {found(config.method.name)}")
        checkpoints = self.home.shared(self.home.runs / "checkpoints" / f"{name}-{self._identity(config)}")
        lock = checkpoints.with_name(f".{checkpoints.name}.lock")
        with claim(lock, f"the training {name}", "wait until it ends, or train with another seed or configuration."):
            return self._train(config, name, checkpoints, parent, distributed)

    def _train(
        self, config: Config, name: str, checkpoints: Path, parent: Run | None, distributed: bool
    ) -> TrainedModel:
        from texthash.models.hasher import Hasher

        training, key, seed = config.training, checkpoints.name, config.training.seed
        run = self.tracker.find(key, self.metric) if checkpoints.exists() and training.resume else None
        if run is None:
            # Another node may keep its runs elsewhere, but its checkpoints are of the same configuration and data.
            if is_local(checkpoints) or not training.resume:
                remove_directory(checkpoints)
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
            result = self._fit(config, checkpoints, EpochLogger(run, f"train {name}"), distributed)
            seconds = time.monotonic() - started
            shutil.rmtree(directory, ignore_errors=True)  # an earlier attempt of this run may have left it
            directory.mkdir(parents=True)
            saved = Hasher.of(result.method.cpu(), self.corpus).save(directory / TRAINED)
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
            number=next_number(self.home),
            created=datetime.now(UTC).isoformat(),
        )
        model.write()
        send(self.home, directory)
        run.end()
        remove_directory(checkpoints)
        log_line(f"train {name}: {self.describe_score(model)} in {seconds:.1f} s; saved in {directory}")
        return model

    def find_trained(self, seed: int, parent: Run) -> TrainedModel | None:
        """Return the model of this configuration and seed that :meth:`train` has saved for a parent run, if any."""
        config = self.run_config(seed)
        found = model_directories(self.home, f"{config.method.name}-{self.label}-s{seed}-*")
        for model in readable_models(found):
            same = self._identity(model.config) == self._identity(config) and model.data == data_digest(self.corpus)
            if same and model.run.read_tags().get("mlflow.parentRunId") == parent.server_id:
                return model
        return None

    def describe_score(self, model: TrainedModel) -> str:
        """Return the model's validation score in words."""
        return "not evaluated" if model.validation is None else f"{self.metric} {model.validation:.4f}"

    def _fit(self, config: Config, checkpoints: Path, notes: EpochLogger, distributed: bool) -> TrainingResult:
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
                cluster=config.cluster,
            )
        from texthash.methods.registry import untrained
        from texthash.training.checkpoints import LocalCheckpointer
        from texthash.training.loop import fit

        if training.workers > 1:
            raise UsageError(
                f"training.workers={training.workers} needs a Ray cluster, but this is one process.",
                "use pipelines/train.py or `texthash train --address`, or set training.workers=1.",
            )
        fresh, learned = untrained(self.corpus, method, training, config.corpus.features)
        return fit(
            fresh,
            learned.train,
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
        """Return a digest of all that determines the weights; only an equal configuration resumes a checkpoint."""
        decisive_values = {
            "data": data_digest(self.corpus),
            "features": config.corpus.features,
            "method": decisive(config.method),
            "training": config.training.model_dump(mode="json", exclude=IRRELEVANT_TO_WEIGHTS),
            "judged_by": [config.evaluation.k, config.evaluation.selection_metric],
        }
        return hashlib.sha256(json.dumps(decisive_values, sort_keys=True).encode()).hexdigest()[:10]

    # -- evaluation -------------------------------------------------------------------------------------------

    def evaluate(self, model: TrainedModel, *, test: bool) -> dict[str, Evaluation]:
        """Evaluate a final model on validation and, if ``test`` is set, on test; log the metrics and save them.

        Evaluations that the model's directory already holds are not repeated, so that test is used only once. Metrics
        of a corpus without labels are those of halves of documents, named ``halves_...``. On validation, scores of
        methods without learning are logged as ``floor/...``. If the codes of the validation split have collapsed, the
        run is tagged ``codes.collapsed`` with the reason in ``codes.warning``.

        Returns:
            Evaluations by split; empty if the corpus allows none.
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
            log_line(f"evaluate {model.name}: the corpus has no labels and no halves of documents to evaluate by")
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
            directory = model.directory / split
            if directory.is_dir():
                found[split] = Evaluation.load(directory)
                continue
            if split == "test":
                evaluation = self.protocol.evaluate_test_once(hasher, model.name, allow_few_codes=allow_few_codes)
            else:
                evaluation = with_floor(
                    self.protocol.evaluate_validation(hasher, allow_few_codes=allow_few_codes), self.corpus, hasher
                )
                model.run.metrics(floor_metrics(evaluation), step=last + 1)
            found[split] = evaluation
            evaluation.save(directory)
            self._send(model)
            prefix = "val" if split == "validation" else split
            # The step follows the last epoch, so that the latest point of val/... belongs to the saved weights.
            figures = {f"{prefix}/{k}": v for k, v in evaluation.named_metrics.items()}
            model.run.metrics(figures, step=last + 1, model_id=model.model_id)
            model.run.artifact(directory, "evaluation/" + split)
            log_line(f"evaluate {model.name}: {split} {evaluation.headline}")
            if evaluation.references:
                log_line(f"  without learning: {evaluation.floor_line}")
            for warning in evaluation.warnings:
                if warning not in self._shown:
                    log_line(f"  warning: {warning}")
            self._shown.update(self.corpus.manifest.warnings)
            if split == "validation":
                model.run.metrics({f"codes/{k}": v for k, v in evaluation.diagnostics.items()}, step=last + 1)
                model.run.tags(_collapse_tags(evaluation.collapse))
        return found

    def report(self, models: Sequence[TrainedModel], run: Run) -> Path | None:
        """Write a report on evaluated models, in the directory of the first one and as an artifact of ``run``.

        Returns:
            Path of the HTML file; None if the corpus allows no evaluation.
        """
        run.text(models[0].config.to_yaml(), "config.yaml")
        if not self.measurable:
            return None
        directory = models[0].directory / "report"
        shutil.rmtree(directory, ignore_errors=True)
        page = make_report(models, label_names=self.corpus.label_names).save(directory)
        self._send(models[0])
        run.artifact(directory)
        return page

    def _send(self, model: TrainedModel) -> None:
        """Publish what was added to a model, unless it is one of the user's in another directory."""
        if model.directory.is_relative_to(self.home.root):
            send(self.home, model.directory)


def _encodes_halves(config: Config) -> bool:
    """Return whether the model can encode halves of documents, which have no vectors of the user's own."""
    from texthash.corpora.prepared.embeddings.sources import is_given

    features = config.corpus.features
    return features is None or not is_given(features) or config.method.params.get("input", "words") == "words"


def _collapse_tags(warning: str | None) -> dict[str, Any]:
    return {"codes.collapsed": warning is not None, **({"codes.warning": warning} if warning else {})}


def _texts(corpus: PreparedCorpus, count: int) -> list[str]:
    for table in corpus.validation.documents(count):
        return [" ".join(text.split())[:200] for text in table["text"].to_pylist()]
    return ["an example"]
