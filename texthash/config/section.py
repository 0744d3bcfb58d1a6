"""A section of the configuration: checked values that never change, and what is said of wrong ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)

from texthash.errors import UsageError, nearest_name

S = TypeVar("S", bound="Section")
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what every source of randomness takes
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1)]
Bits = Annotated[int, Field(ge=8, le=1024, multiple_of=8)]
Widths = Annotated[tuple[Bits, ...], Field(min_length=1)]

VARIABLES: dict[str, str] = {}
"""Dotted keys to the variables of the environment that stand for them; each section enters its own."""


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values are checked, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def derive(self, **changes: Any) -> Self:
        """Return the section with other values, which are checked like those of a file.

        A mapping in place of a section inside changes the keys that it names and leaves the others:
        ``config.derive(training={"seed": 3})``.

        Raises:
            UsageError: an unknown key or a value out of range.
        """
        return parse_section(type(self), self._changed(changes), "the configuration")

    def _changed(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in type(self).model_fields}
        for name, change in changes.items():
            old = values.get(name)
            values[name] = old._changed(change) if isinstance(old, Section) and isinstance(change, Mapping) else change
        return values


def parse_section(section: type[S], values: Mapping[Any, Any], what: str) -> S:
    """Validate a nested mapping into a section; raises :class:`UsageError` that says what of ``what`` is wrong."""
    try:
        return section.model_validate(values)
    except ValidationError as error:
        lines = [_explain(problem, section) for problem in error.errors()]
        raise UsageError(f"{what} is wrong: " + "; ".join(lines), "correct the keys named above.") from None


def environment_variables() -> dict[str, str]:
    """Return the dotted keys of the configuration for which variables of the environment stand, with these."""
    return dict(VARIABLES)


def _explain(problem: Any, root: type[BaseModel]) -> str:
    location = [str(part) for part in problem["loc"]]
    dotted = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = _keys_at(root, location[:-1])
        return f"unknown key {dotted!r}" + (f" ({nearest_name(location[-1], known)})" if known else "")
    # A default that is made from the environment fails below its own section, without the names of those above.
    ends = (variable for key, variable in environment_variables().items() if f".{key}".endswith(f".{dotted}"))
    variable = next(ends, "")
    if variable in os.environ and os.environ[variable] == problem.get("input"):
        dotted = variable
    return f"{dotted}={problem.get('input')!r}: {problem['msg']}"


def _keys_at(root: type[BaseModel], location: Sequence[str]) -> Iterable[str]:
    section = root
    for part in location:
        annotation = section.model_fields[part].annotation if part in section.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return section.model_fields
