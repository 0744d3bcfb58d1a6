"""Weights that change while training goes on, as functions of what is done."""

from __future__ import annotations


def linear_ramp(fraction: float, start: float, end: float, over: float = 1.0) -> float:
    """Go from ``start`` to ``end`` over the first ``over`` of training, and stay there."""
    return start + (end - start) * min(1.0, fraction / over) if over > 0 else end


def staircase_decay(step: int, rate: float, every: int) -> float:
    """rate ** (step // every): the learning rate's factor in VDSH and NASH (0.96 every 10,000 steps)."""
    return rate ** (step // every)
