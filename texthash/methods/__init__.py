"""Methods of the survey and classical ones: one file per paper; every class with a ``card`` is registered.

>>> from texthash import methods
>>> "nash" in methods.names()
True
>>> methods.NASH is methods.get("nash")
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from texthash.methods.base import HashMethod

__all__ = ["get", "names"]


def names() -> list[str]:
    """Return the names of all methods, in alphabetical order."""
    from texthash.methods.registry import methods

    return list(methods())


def get(name: str) -> type[HashMethod]:
    """Return the class of a method; raise :class:`~texthash.errors.UsageError` naming the nearest known name."""
    from texthash.methods.registry import get_method

    return get_method(name)


def __getattr__(name: str) -> type[HashMethod]:
    if name[:1].isupper():
        from texthash.methods.registry import methods

        for cls in methods().values():
            if cls.__name__ == name:
                return cls
    raise AttributeError(f"module 'texthash.methods' has no attribute {name!r}")
