"""Weights that change while training goes on, as functions of what is done."""

from __future__ import annotations


def linear_ramp(fraction: float, start: float, end: float, over: float = 1.0) -> float:
    """Go from ``start`` to ``end`` over the first ``over`` of training, and stay there."""
    return start + (end - start) * min(1.0, fraction / over) if over > 0 else end


def exponential_decay(fraction: float, start: float, end: float, over: float = 1.0) -> float:
    """Go from ``start`` to ``end`` (both above 0) by equal factors over the first ``over`` of training; stay there."""
    return start * (end / start) ** min(1.0, fraction / over) if over > 0 else end
