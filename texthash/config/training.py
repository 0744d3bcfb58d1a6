"""Configuration of training."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    Field,
)

from texthash.config.section import Section, Seed


class TrainingConfig(Section):
    """Training loop, its workers and its data."""

    epochs: int | None = Field(None, ge=1, description="number of epochs; null: the method's default")
    batch_size: int | None = Field(
        None, ge=1, description="global batch size, over all workers; null: the method's default"
    )
    labelled: float = Field(
        1.0, gt=0, le=1, description="share of the training documents, sampled by the seed, whose labels are used"
    )
    workers: int = Field(1, ge=1)
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
