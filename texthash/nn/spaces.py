"""Types of hyper-parameter ranges in search spaces: plain data, which the tuner translates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from texthash.errors import UsageError


@dataclass(frozen=True)
class Uniform:
    """Real number in [low, high], uniform."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_range(self, self.low, self.high)

    def __str__(self) -> str:
        return f"{self.low:g} .. {self.high:g}"


@dataclass(frozen=True)
class LogUniform:
    """Positive real number in [low, high], uniform in the logarithm."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_range(self, self.low, self.high)
        if self.low <= 0:
            raise UsageError(f"{self!r}: the lower end must be above 0.", "use Uniform for a range that touches 0.")

    def __str__(self) -> str:
        return f"{self.low:g} .. {self.high:g} (log)"


@dataclass(frozen=True)
class IntUniform:
    """Integer in [low, high], uniform, both ends included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        _check_range(self, self.low, self.high)

    def __str__(self) -> str:
        return f"{self.low} .. {self.high} (whole)"


@dataclass(frozen=True, init=False)
class Choice:
    """One of several values: ``Choice(500, 1000)``."""

    options: tuple[Any, ...]

    def __init__(self, *options: Any) -> None:
        if not options:
            raise UsageError("Choice() has no options.", "give at least one value.")
        object.__setattr__(self, "options", options)

    def __repr__(self) -> str:
        return f"Choice({', '.join(map(repr, self.options))})"

    def __str__(self) -> str:
        return " | ".join(map(str, self.options))


Space = Uniform | LogUniform | IntUniform | Choice
SearchSpace = Mapping[str, Space]


def _check_range(space: object, low: float, high: float) -> None:
    if not low < high:
        raise UsageError(f"{space!r}: the lower end is not below the upper.", "swap or widen the range.")
