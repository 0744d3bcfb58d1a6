"""Configuration of training."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from texthash.config.section import Section, Seed

IRRELEVANT_TO_WEIGHTS = {"resume", "max_failures", "cpus_per_worker", "max_workers"}
"""Settings of training that no digest of a run holds, because the weights do not depend on them."""


class TrainingConfig(Section):
    """Training loop, its workers and its data."""

    epochs: int | None = Field(None, ge=1, description="number of epochs; null: the method's default")
    batch_size: int | None = Field(
        None, ge=1, description="global batch size, over all workers; null: the method's default"
    )
    documents: int | None = Field(
        None,
        ge=1,
        description="number of training documents that are learned from, evenly spaced, where millions would need "
        "hours of vectors or neighbours; null: all",
    )
    labelled: float = Field(
        1.0, gt=0, le=1, description="share of the training documents, sampled by the seed, whose labels are used"
    )
    workers: int = Field(1, ge=1, description="number of workers; the least number if max_workers is larger")
    max_workers: int | None = Field(
        None,
        ge=1,
        description="largest number of workers, which follow the nodes of the cluster from epoch to epoch; null: the "
        "number stays the same",
    )
    use_gpu: bool = False
    cpus_per_worker: float = Field(0.5, gt=0)
    autocast: Literal["bf16"] | None = None
    patience: int | None = Field(
        10, ge=1, description="number of validations without improvement before training stops; null: all epochs"
    )
    validate_every: int = Field(1, ge=1, description="number of epochs between two validations")
    max_failures: int = Field(2, ge=0, description="largest number of worker deaths in a run")
    seed: Seed = 0
    resume: bool = True

    @model_validator(mode="after")
    def _most_is_not_below_least(self) -> TrainingConfig:
        if self.max_workers is not None and self.max_workers < self.workers:
            raise ValueError(f"max_workers={self.max_workers} is below workers={self.workers}")
        return self

    @model_serializer(mode="wrap")
    def _without_the_usual(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out ``documents`` if it is null, so that digests from before this key stay valid."""
        values: dict[str, Any] = serialize(self)
        if self.documents is None:
            values.pop("documents", None)
        return values
