"""Schedules of weights and temperatures, as functions of the share of training done."""

from __future__ import annotations


def linear_ramp(fraction: float, start: float, end: float, over: float = 1.0) -> float:
    """Return w(f) = start + (end - start) min(1, f / over), f the share of training done; ``end`` if ``over`` is 0.

    Used for annealing divergences (Bowman et al., 2016; Chaidaroon & Fang, 2017).
    """
    return start + (end - start) * min(1.0, fraction / over) if over > 0 else end


def exponential_decay(fraction: float, start: float, end: float, over: float = 1.0) -> float:
    """Return tau(f) = start (end / start)^min(1, f / over), both above 0; ``end`` if ``over`` is 0.

    Used for temperatures, which fall by equal factors in equal times (Jang et al., 2017; Zhang & Zhu, 2019).
    """
    return start * (end / start) ** min(1.0, fraction / over) if over > 0 else end


def by_steps(step: int, start: float, end: float, change: float) -> float:
    """Return w(t) = start moved towards ``end`` by ``change`` >= 0 at every step t, and ``end`` from there on.

    Used where a paper gives a change per step, whatever the length of training, such as noise that falls by 1e-6 a step
    (Hansen et al., 2019).
    """
    moved = change * step
    return min(end, start + moved) if end >= start else max(end, start - moved)
