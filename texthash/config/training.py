"""Training."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    Field,
)

from texthash.config.section import Section, Seed


class TrainingConfig(Section):
    epochs: int | None = Field(None, ge=1, description="null: the method's own")
    batch_size: int | None = Field(None, ge=1, description="global batch, over all workers; null: the method's")
    labelled: float = Field(
        1.0, gt=0, le=1, description="share of the training documents, drawn by the seed, whose labels a method sees"
    )
    workers: int = Field(1, ge=1)
    use_gpu: bool = False
    cpus_per_worker: float = Field(0.5, gt=0)
    autocast: Literal["bf16"] | None = None
    patience: int | None = Field(
        10, ge=1, description="stop after so many validations without a better one; null: all epochs"
    )
    validate_every: int = Field(1, ge=1, description="epochs between two validations")
    max_failures: int = Field(2, ge=0, description="worker deaths that a run survives")
    seed: Seed = 0
    resume: bool = True
