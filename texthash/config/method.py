"""The hashing method."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    Field,
)

from texthash.config.section import Bits, Section

Preset = Literal["default", "paper"]


class MethodConfig(Section):
    name: str = "nash"
    bits: Bits = 32
    preset: Preset = Field(
        "default",
        description="where hyper-parameters come from that params does not name: default, as "
        "`texthash methods show NAME` prints them; paper: what was printed, as far as it is known",
    )
    params: dict[str, Any] = Field(default_factory=dict, description="hyper-parameters of the method")
