"""Configuration of the search of hyper-parameters."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    model_serializer,
    model_validator,
)

from texthash.config.section import LISTED_ONCE, Section, Seed, Seeds


class Range(Section):
    """Search range of one hyper-parameter; exactly one kind is set."""

    uniform: tuple[float, float] | None = Field(None, description="uniform between two numbers")
    log: tuple[float, float] | None = Field(None, description="log-uniform between two numbers")
    whole: tuple[int, int] | None = Field(None, description="whole numbers between two, both included")
    choice: Annotated[tuple[Any, ...], LISTED_ONCE] | None = Field(None, description="one of these values")

    @model_validator(mode="after")
    def _one_of_them(self) -> Range:
        if len(self.only()) != 1:
            raise ValueError("name one of uniform, log, whole and choice")
        return self

    @model_serializer
    def only(self) -> dict[str, Any]:
        """Return the kind that is set, with its values."""
        given = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: list(values) for name, values in given if values is not None}


class TuningConfig(Section):
    """Sweep: its trials, search space, scheduler and final models."""

    trials: int = Field(
        0, ge=0, description="number of trials; 0: no search, the hyper-parameters of method.params and method.preset"
    )
    space: dict[str, Range] = Field(
        default_factory=dict,
        description="search ranges by hyper-parameter, which extend or replace those of the method",
    )
    scheduler: Literal["asha", "pbt"] = Field(
        "asha",
        description="asha: stops poor trials early; pbt: population based training, in which all trials run to their "
        "end, and a poor one is replaced from time to time by a good one with perturbed values",
    )
    perturb_epochs: int = Field(2, ge=1, description="pbt: number of epochs between two perturbations")
    concurrent: int = Field(
        2, ge=1, description="number of concurrent trials; pbt: as many as the CPUs of the cluster admit"
    )
    cpus_per_trial: float = Field(
        0.8, gt=0, description="CPUs that a trial reserves; a trial has the same number of threads, at least one"
    )
    gpus_per_trial: float = Field(
        1.0, gt=0, description="GPUs that a trial reserves with training.use_gpu; below 1, trials share one"
    )
    epochs: int | None = Field(None, ge=1, description="number of epochs of a trial; null: the method's default")
    grace_epochs: int = Field(2, ge=1, description="number of epochs before ASHA may stop a trial")
    seeds: Seeds | None = Field(None, description="seeds of the final models, one each; null: training.seed alone")
    seed: Seed = Field(0, description="seed of the search")
    resume: bool | Literal["auto"] = Field(
        "auto",
        description="continue the latest unfinished sweep of the same configuration; auto: if there is one; true: it "
        "is an error if there is none; false: start another",
    )
