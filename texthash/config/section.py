"""Base of the sections of the configuration: validated, immutable values, and errors about invalid ones."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from texthash.arguments import shown
from texthash.errors import UsageError, nearest_name, plain_message

S = TypeVar("S", bound="Section")
_LONGEST = 1_000  # characters of a value in an error


def check_listed_once(values: Sequence[Any]) -> Sequence[Any]:
    """Return the values of a list; :class:`ValueError` if one occurs twice."""
    if twice := [value for number, value in enumerate(values) if value in values[:number]]:
        raise ValueError(f"{twice[0]} is listed twice")
    return values


LISTED_ONCE = AfterValidator(check_listed_once)
"""Annotation of a list in which a value may occur once."""

Seed = Annotated[int, Field(ge=0, lt=2**32)]  # The range that every random generator accepts.
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), LISTED_ONCE]
Bits = Annotated[int, Field(ge=8, le=1024, multiple_of=8)]
Widths = Annotated[tuple[Bits, ...], Field(min_length=1), LISTED_ONCE]

VARIABLES: dict[str, str] = {}
"""Environment variables by dotted key; each section adds its own."""


class Section(BaseModel):
    """Section of the configuration: unknown keys are rejected, values are validated, and instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _is_storable(cls, value: Any) -> Any:
        if isinstance(value, int) and abs(value) > sys.maxsize:  # no file could hold it
            raise ValueError("Input should be a number of at most 64 bits")
        return value

    def derive(self, **changes: Any) -> Self:
        """Return the section with other values, which are validated like those of a file.

        A mapping for a nested section changes only the keys that it contains: ``config.derive(training={"seed": 3})``.

        Raises:
            UsageError: A key is unknown, or a value is out of range.
        """
        return parse_section(type(self), self._changed(changes), "the configuration")

    def _changed(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in type(self).model_fields}
        for name, change in changes.items():
            old = values.get(name)
            values[name] = old._changed(change) if isinstance(old, Section) and isinstance(change, Mapping) else change
        return values


def parse_section(section: type[S], values: Mapping[Any, Any], what: str) -> S:
    """Validate a nested mapping into a section.

    Args:
        section: Class of the section.
        values: Values by key.
        what: Name of the source of the values, for the error.

    Raises:
        UsageError: A key is unknown, or a value is invalid; the error names all of them.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        lines = [_explain(problem, section) for problem in error.errors()]
        raise UsageError(f"{what} is wrong: " + "; ".join(lines), "correct the keys named above.") from None


def environment_variables() -> dict[str, str]:
    """Return the environment variables that set keys of the configuration, by dotted key."""
    return dict(VARIABLES)


def _explain(problem: Any, root: type[BaseModel]) -> str:
    location = [str(part) for part in problem["loc"]]
    dotted = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = _keys_at(root, location[:-1])
        return f"unknown key {dotted!r}" + (f" ({nearest_name(location[-1], known)})" if known else "")
    # A default that comes from the environment fails in its own section, so its key lacks the names of outer sections.
    ends = (variable for key, variable in environment_variables().items() if f".{key}".endswith(f".{dotted}"))
    variable = next(ends, "")
    if variable in os.environ and os.environ[variable] == problem.get("input"):
        dotted = variable
    return f"{dotted}={shown(problem.get('input'), _LONGEST)}: {plain_message(problem['msg'])}"


def _keys_at(root: type[BaseModel], location: Sequence[str]) -> Iterable[str]:
    section = root
    for part in location:
        annotation = section.model_fields[part].annotation if part in section.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return section.model_fields
