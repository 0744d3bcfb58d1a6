"""Weights that change while training goes on, as functions of what is done."""

from __future__ import annotations


def linear_ramp(fraction: float, start: float, end: float, over: float = 1.0) -> float:
    """w(f) = start + (end - start) min(1, f / over), f the share of training done; ``end`` where ``over`` is 0.

    So divergences are annealed (Bowman et al., 2016; Chaidaroon & Fang, 2017).
    """
    return start + (end - start) * min(1.0, fraction / over) if over > 0 else end


def exponential_decay(fraction: float, start: float, end: float, over: float = 1.0) -> float:
    """tau(f) = start (end / start)^min(1, f / over), both above 0; ``end`` where ``over`` is 0.

    So temperatures fall, by equal factors in equal times (Jang et al., 2017; Zhang & Zhu, 2019).
    """
    return start * (end / start) ** min(1.0, fraction / over) if over > 0 else end
