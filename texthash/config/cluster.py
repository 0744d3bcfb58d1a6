"""Configuration of the cluster: waiting for nodes, and placement on them."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    Field,
)

from texthash.config.section import Section


class ClusterConfig(Section):
    """Waiting for nodes, and placement of training on them; results do not depend on it."""

    wait_s: float = Field(
        0.0, ge=0, description="seconds to wait for nodes that have room for a step; 0: fail at once without room"
    )
    placement_strategy: Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"] = Field(
        "PACK", description="placement of training workers: on few nodes, or spread; STRICT_: fail otherwise"
    )
    label_selector: dict[str, str] = Field(
        default_factory=dict, description="labels that the nodes of training workers must have, as of Ray's selectors"
    )
    accelerator_type: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="type of accelerator of training workers, by Ray's names, such as H100",
    )
