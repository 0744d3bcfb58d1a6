"""Search of hyper-parameters."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    Field,
    model_serializer,
    model_validator,
)

from texthash.config.section import Section, Seed, Seeds


class Range(Section):
    """Where one hyper-parameter is searched: exactly one of these."""

    uniform: tuple[float, float] | None = Field(None, description="from, to")
    log: tuple[float, float] | None = Field(None, description="from, to, every order of magnitude alike")
    whole: tuple[int, int] | None = Field(None, description="from, to, whole numbers, both included")
    choice: tuple[Any, ...] | None = Field(None, description="one of these values")

    @model_validator(mode="after")
    def _one_of_them(self) -> Range:
        if len(self.only()) != 1:
            raise ValueError("name one of uniform, log, whole and choice")
        return self

    @model_serializer
    def only(self) -> dict[str, Any]:
        """The kind that is named, and its values."""
        given = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: list(values) for name, values in given if values is not None}


class TuningConfig(Section):
    trials: int = Field(0, ge=0, description="0: no search, the hyper-parameters of method.params and method.preset")
    space: dict[str, Range] = Field(
        default_factory=dict,
        description="hyper-parameter to where it is searched, beside or instead of the method's own",
    )
    scheduler: Literal["asha", "pbt"] = Field(
        "asha",
        description="asha: ends poor trials early; pbt: all run to their end, and a poor one now and then goes on from "
        "the weights of a good one with its values changed (population based training)",
    )
    perturb_epochs: int = Field(2, ge=1, description="pbt: epochs between two such moments")
    concurrent: int = Field(2, ge=1, description="trials at a time; pbt: as many as the cluster has CPUs for")
    cpus_per_trial: float = Field(0.8, gt=0, description="claimed of the cluster; a trial has as many threads, or one")
    epochs: int | None = Field(None, ge=1, description="epochs of one trial; null: the method's own")
    grace_epochs: int = Field(2, ge=1, description="epochs before ASHA may stop a trial")
    seeds: Seeds | None = Field(None, description="final models are trained once on each; null: on training.seed alone")
    seed: Seed = Field(0, description="of the search itself")
    resume: bool = Field(False, description="go on with the latest unfinished sweep of the same configuration")
