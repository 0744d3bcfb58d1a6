"""Population based training: a poor trial now and then goes on from the weights of a good one, with other values.

Jaderberg et al., "Population Based Training of Neural Networks", 2017, as Ray Tune's scheduler does it. What travels
through Ray Tune is only the name of a state; the states lie where trials keep theirs, a few of each.
"""

from __future__ import annotations

import json
import os
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
from texthash.training.checkpoints import read_state, write_state
from texthash.tuning.spaces import to_tune

if TYPE_CHECKING:
    from ray.tune import Checkpoint
    from ray.tune.schedulers import PopulationBasedTraining

_NAMED, _COPIED, _STATE = "state.json", "copied.json", "checkpoint.pt"
_REMEDY = "start another sweep with tuning.resume=false."
_KEPT = 3  # states of a trial that others may still go on from


@dataclass(frozen=True)
class Named:
    """A state of a trial after an epoch."""

    trial: FileName
    epoch: int


def scheduler(config: Config, space: SearchSpace, shape: CorpusShape) -> PopulationBasedTraining:
    """Ray Tune's scheduler over those parameters that can be changed in mid-training; the others go along with the
    weights that are copied.

    Raises:
        UsageError: there is none.
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
    random.seed(config.tuning.seed)  # what Ray Tune's scheduler draws from
    return PopulationBasedTraining(
        time_attr="epoch",
        perturbation_interval=config.tuning.perturb_epochs,
        hyperparam_mutations={
            name: list(one.options) if isinstance(one, Choice) else domains[name] for name, one in changed.items()
        },
        custom_explore_fn=lambda values: {name: _within(changed.get(name), value) for name, value in values.items()},
    )


def changeable(config: Config, space: SearchSpace, shape: CorpusShape) -> SearchSpace:
    """The parameters whose values change neither the sizes of the weights nor the stages of the training."""
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
    """A value that was moved, brought back into its range."""
    if domain is None or isinstance(domain, Choice):
        return value
    return min(max(value, domain.low), domain.high)


class Lineage:
    """The states of one trial, and from where it took the weights that it goes on from.

    Args:
        states: Directory of those of all trials.
        trial: Id of this one.
    """

    def __init__(self, states: Path, trial: str) -> None:
        self.states, self.trial = states, trial

    def take_over(self, given: Checkpoint | None) -> Named | None:
        """Copy the state that Ray Tune tells the trial to go on from, if it is another trial's; gives whose it was.

        What that trial had reached does not count as this one's. None where the trial goes on from its own state, or
        from one that was copied before.
        """
        if given is None:
            return None
        with given.as_directory() as directory:
            source = read_typed(Named, Path(directory) / _NAMED, _REMEDY)
        own, there = self.states / self.trial, self.states / source.trial
        if source.trial == self.trial or self._copied(own / _COPIED) == source:
            return None
        kept = there / _at(source.epoch)
        state = read_state(kept if kept.is_file() else there / _STATE)
        write_state({**state, "best": None, "best_weights": None, "stale": 0}, own / _STATE)
        write_json(own / _COPIED, asdict(source))
        return source

    @staticmethod
    def _copied(path: Path) -> Named | None:
        return read_typed(Named, path, _REMEDY) if path.is_file() else None

    @property
    def begun(self) -> bool:
        """Whether the trial has a state."""
        return (self.states / self.trial / _STATE).is_file()

    @contextmanager
    def named(self, epoch: int) -> Iterator[Checkpoint]:
        """Keep the state of now for others to go on from, and give it a name that Ray Tune can hand on."""
        from ray.tune import Checkpoint

        own = self.states / self.trial
        kept = own / _at(epoch)
        kept.unlink(missing_ok=True)
        os.link(own / _STATE, kept)  # the next state is a file of its own
        for old in sorted(own.glob(_at("*")), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
            old.unlink()
        with tempfile.TemporaryDirectory(prefix="texthash-state-") as scratch:
            (Path(scratch) / _NAMED).write_text(json.dumps(asdict(Named(self.trial, epoch))), encoding="utf-8")
            yield Checkpoint(scratch)


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The values that can be drawn as a curve, as figures to log."""
    return {f"tuned/{name}": float(v) for name, v in values.items() if isinstance(v, int | float)}


def _at(epoch: int | str) -> str:
    return f"at-{epoch}.pt"
