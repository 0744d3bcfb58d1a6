"""Configuration of the hashing method."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    Field,
)

from texthash.config.section import Bits, Section

Preset = Literal["default", "paper", "tuned"]


class MethodConfig(Section):
    """Choice of the method, the width of its codes, and its hyper-parameters."""

    name: str = "nash"
    bits: Bits = 32
    preset: Preset = Field(
        "default",
        description="source of hyper-parameters that params does not name: default, as `texthash methods show NAME` "
        "prints them; paper: the published values, as far as they are known; tuned: those that a search on another "
        "corpus found",
    )
    params: dict[str, Any] = Field(default_factory=dict, description="hyper-parameters of the method")
