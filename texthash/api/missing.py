"""Values that stand for none: of pandas, NumPy and Arrow, none of which is imported here."""

from __future__ import annotations

from typing import Any

_KINDS = ("NAType", "NaTType", "MaskedConstant")  # of pandas.NA, pandas.NaT and numpy.ma.masked


def is_missing(value: Any) -> bool:
    """Return whether a value is None, NA, NaT, a masked one, a null of Arrow, or not a number (NaN)."""
    if value is None or type(value).__name__ in _KINDS:
        return True
    if hasattr(value, "as_py"):
        return is_missing(value.as_py())
    if isinstance(value, float):
        return value != value
    # Scalars of NumPy: of float32, or a date that is NaT.
    scalar = getattr(value, "ndim", None) == 0 and getattr(getattr(value, "dtype", None), "kind", "") in "fM"
    return scalar and bool(value != value)
