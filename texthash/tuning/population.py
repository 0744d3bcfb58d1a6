"""Population based training: poor trials are replaced by copies of good ones with perturbed hyper-parameters.

Jaderberg et al., "Population Based Training of Neural Networks", 2017, as implemented by Ray Tune's scheduler. Ray Tune
only passes on the name of a state; the states themselves are in the directories of the trials, a few for each.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texthash.config import Config
from texthash.corpora.prepared.corpus import CorpusShape
from texthash.errors import TexthashError, UsageError
from texthash.io.atomic import write_json
from texthash.io.records import FileName, read_typed
from texthash.methods.base import GradientStage
from texthash.methods.registry import build, resolved
from texthash.nn.spaces import Choice, SearchSpace, Space
from texthash.training.checkpoints import keep_state, read_state, write_state
from texthash.tuning.spaces import to_tune

if TYPE_CHECKING:
    from ray.tune import Checkpoint
    from ray.tune.schedulers import PopulationBasedTraining

_NAMED, _COPIED, _STATE = "state.json", "copied.json", "checkpoint.pt"
_REMEDY = "start another sweep with tuning.resume=false."
_KEPT = 3  # latest states of a trial that others may still copy


@dataclass(frozen=True)
class StateName:
    """Name of a trial's state after an epoch."""

    trial: FileName
    epoch: int


def scheduler(config: Config, space: SearchSpace, shape: CorpusShape) -> PopulationBasedTraining:
    """Return Ray Tune's scheduler over the parameters that can change during training.

    The other parameters are copied together with the weights.

    Raises:
        UsageError: There is no such parameter.
    """
    from ray.tune.schedulers import PopulationBasedTraining

    changed = changeable(config, space, shape)
    if not changed:
        raise UsageError(
            f"none of {', '.join(space)} can be changed while {config.method.name} trains: each decides the size of "
            "its weights or the stages of its training.",
            "set tuning.scheduler=asha, or search other parameters (tuning.space).",
        )
    domains = to_tune(changed)
    random.seed(config.tuning.seed)  # generator of Ray Tune's scheduler
    return PopulationBasedTraining(
        time_attr="epoch",
        perturbation_interval=config.tuning.perturb_epochs,
        hyperparam_mutations={
            name: list(one.options) if isinstance(one, Choice) else domains[name] for name, one in changed.items()
        },
        custom_explore_fn=lambda values: {name: _within(changed.get(name), value) for name, value in values.items()},
    )


def changeable(config: Config, space: SearchSpace, shape: CorpusShape) -> SearchSpace:
    """Return the parameters on which neither the sizes of the weights nor the stages of training depend."""
    return {name: domain for name, domain in space.items() if len(set(_outlines(config, shape, name, domain))) == 1}


def _outlines(config: Config, shape: CorpusShape, name: str, domain: Space) -> Iterator[Any]:
    for value in domain.options if isinstance(domain, Choice) else (domain.low, domain.high):
        try:
            chosen = resolved(config.derive(method={"params": {**config.method.params, name: value}})).method
            method = build(chosen.name, shape, chosen.bits, chosen.params)
        except TexthashError as error:
            yield str(error)
            continue
        sizes = tuple((key, tuple(tensor.shape)) for key, tensor in method.state_dict().items())
        yield (
            sizes,
            tuple((stage.name, stage.epochs if isinstance(stage, GradientStage) else 0) for stage in method.stages()),
        )


def _within(domain: Space | None, value: Any) -> Any:
    """Clip a perturbed value to its range."""
    if domain is None or isinstance(domain, Choice):
        return value
    return min(max(value, domain.low), domain.high)


class Lineage:
    """States of one trial, and the origin of its weights if they are copied from another trial.

    Args:
        states: Directory of the states of all trials.
        trial: Id of the trial.
    """

    def __init__(self, states: Path, trial: str) -> None:
        self.states, self.trial = states, trial

    def take_over(self, given: Checkpoint | None) -> StateName | None:
        """Copy the state from which Ray Tune lets the trial continue, if it is another trial's; return its name.

        The other trial's best score is not copied. Returns None if the trial continues from its own state, or has
        copied that state before.
        """
        if given is None:
            return None
        with given.as_directory() as directory:
            source = read_typed(StateName, Path(directory) / _NAMED, _REMEDY)
        own, there = self.states / self.trial, self.states / source.trial
        if source.trial == self.trial or self._copied(own / _COPIED) == source:
            return None
        kept = there / _at(source.epoch)
        state = read_state(kept if kept.is_file() else there / _STATE)
        write_state({**state, "best": None, "best_weights": None, "stale": 0}, own / _STATE)
        write_json(own / _COPIED, asdict(source))
        return source

    @staticmethod
    def _copied(path: Path) -> StateName | None:
        return read_typed(StateName, path, _REMEDY) if path.is_file() else None

    @property
    def begun(self) -> bool:
        """True if the trial has a state."""
        return (self.states / self.trial / _STATE).is_file()

    @contextmanager
    def named(self, epoch: int) -> Iterator[Checkpoint]:
        """Keep the current state for other trials to copy, and yield a checkpoint that contains its name."""
        from ray.tune import Checkpoint

        own = self.states / self.trial
        keep_state(own / _STATE, own / _at(epoch))
        for old in sorted(own.glob(_at("*")), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
            old.unlink()
        with tempfile.TemporaryDirectory(prefix="texthash-state-") as scratch:
            (Path(scratch) / _NAMED).write_text(json.dumps(asdict(StateName(self.trial, epoch))), encoding="utf-8")
            yield Checkpoint(scratch)


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the numeric hyper-parameters as metrics to log."""
    return {f"tuned/{name}": float(v) for name, v in values.items() if isinstance(v, int | float)}


def _at(epoch: int | str) -> str:
    return f"at-{epoch}.pt"
