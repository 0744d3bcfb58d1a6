"""Hyper-parameters of a method, declared once as fields of its class and checked whenever one is built.

    class VDSH(VariationalMethod):
        decoder_std: float = Field(0.1, gt=0, description="Standard deviation of the initial R.")
        epochs = 12                                     # another default for a hyper-parameter of its base

A declaration holds type, range, default and meaning; :func:`document` turns all declarations of a class into the
signature of its constructor and the ``Args`` of its docstring. Published values are on the method's card.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.fields import FieldInfo

from texthash.arguments import shown
from texthash.errors import UsageError, nearest_name

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
_BOUNDS = {"ge": "of at least", "gt": "above", "le": "at most", "lt": "below"}


@dataclass(frozen=True)
class HyperParameter:
    """A hyper-parameter of a method.

    Attributes:
        name: Name in the configuration and in the constructor.
        attribute: Name of the method's attribute; equal to the name unless a layer has that name.
        kind: Type of the value.
        default: Default value.
        meaning: Description in one phrase.
        constraints: Bounds of the range.
    """

    name: str
    attribute: str
    kind: Any
    default: Any
    meaning: str
    constraints: tuple[Any, ...] = ()

    @property
    def optional(self) -> bool:
        """True if null is allowed."""
        return NoneType in get_args(self.kind)

    @property
    def options(self) -> tuple[str, ...]:
        """Allowed words; empty for numbers and booleans."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def allowed(self) -> str:
        """Type and range in words, such as ``a number of at least 0 and below 1``."""
        kind = next(iter(get_args(self.kind))) if self.optional else self.kind
        text = f"one of {', '.join(self.options)}" if self.options else _KINDS[kind]
        bounds = [
            f"{word} {getattr(constraint, key):g}"
            for key, word in _BOUNDS.items()
            for constraint in self.constraints
            if hasattr(constraint, key)
        ]
        return f"{text} {' and '.join(bounds)}".strip() + (", or null" if self.optional else "")

    def problem(self, method: str, value: Any) -> str:
        """Return the reason why the method rejects a value, in words."""
        near = f" ({nearest_name(value, self.options)})" if self.options and isinstance(value, str) else ""
        finite = " and finite" if isinstance(value, float) and not math.isfinite(value) else ""
        return (
            f"method.params.{self.name}={shown(value)}: {self.name} of {method} has to be {self.allowed}{finite}{near}"
        )


def declare(cls: type) -> None:
    """Record the declarations in the body of a class, and replace them by their defaults."""
    inherited = {parameter.attribute: parameter for parameter in parameters_of(*cls.__bases__).values()}
    notes = inspect.get_annotations(cls, eval_str=True)
    own: dict[str, HyperParameter] = {}
    for attribute, value in list(vars(cls).items()):
        if isinstance(value, FieldInfo):
            name = value.alias or attribute
            own[name] = HyperParameter(
                name, attribute, notes[attribute], value.default, value.description or "", tuple(value.metadata)
            )
            setattr(cls, attribute, value.default)
        elif attribute in inherited:
            own[inherited[attribute].name] = replace(inherited[attribute], default=value)
    cls._declared = own  # type: ignore[attr-defined]


def parameters_of(*classes: type) -> dict[str, HyperParameter]:
    """Return all hyper-parameters of classes by name, those of a class before those of its bases."""
    found: dict[str, HyperParameter] = {}
    for cls in (base for given in classes for base in given.__mro__):
        found = {**found, **{k: v for k, v in vars(cls).get("_declared", {}).items() if k not in found}}
    return found


def checked(cls: type, method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all hyper-parameters of a class: those of ``given``, and the defaults of the others.

    Args:
        cls: Class of the method.
        method: Name of the method, for error messages.
        given: Hyper-parameters by name.

    Raises:
        UsageError: A name does not exist (with the nearest existing one), or values are out of range or of another
            type; every wrong value is named.
    """
    parameters = parameters_of(cls)
    for name in given:
        if name not in parameters:
            raise UsageError(
                f"method.params.{name}={shown(given[name])}: {method} has no hyper-parameter {name!r} "
                f"({nearest_name(name, parameters)}).",
                f"remove it from the configuration; those of {method} are: {', '.join(parameters) or 'none'}.",
            )
    try:
        return _model(cls)(**given).model_dump()
    except ValidationError as error:
        wrong = dict.fromkeys(str(problem["loc"][0]) for problem in error.errors())
        raise UsageError(
            "; ".join(parameters[name].problem(method, given[name]) for name in wrong) + ".",
            f"`texthash methods show {method}` prints defaults and ranges.",
        ) from None


@cache
def _model(cls: type) -> type[BaseModel]:
    config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    fields: dict[str, Any] = {
        name: (Annotated[(one.kind, *one.constraints)] if one.constraints else one.kind, one.default)
        for name, one in parameters_of(cls).items()
    }
    return create_model(cls.__name__, __config__=config, **fields)


def document(cls: type) -> None:
    """Give a class a constructor with an explicit signature, and a docstring that describes each argument.

    Raises:
        TypeError: The class's own constructor takes hyper-parameters, which a saved model would lose.
    """
    parameters = parameters_of(cls)
    own = vars(cls).get("__init__")
    if own is None:
        cls.__init__ = _constructor(cls, parameters)  # type: ignore[misc]
    else:
        taken = inspect.signature(own).parameters.values()
        more = [p.name for p in taken if p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
        if more:
            raise TypeError(
                f"{cls.__qualname__}.__init__ takes {', '.join(more)}: a hyper-parameter is declared as a field of the "
                f"class, `{more[0]}: float = Field(0.5, ge=0, description=...)`, so that it is checked and saved."
            )
    lines = [f"    {one.name}: {one.meaning} Default: {one.default}; {one.allowed}." for one in parameters.values()]
    text = inspect.cleandoc(vars(cls).get("__doc__") or f"{cls.__name__}.")
    arguments = ("    shape: Sizes of the corpus.", "    bits: Length m of the code, a multiple of 8 from 8 to 1024.")
    cls.__doc__ = "\n".join([text, "", "Args:", *arguments, *lines])


def _constructor(cls: type, parameters: Mapping[str, HyperParameter]) -> Callable[..., None]:
    def __init__(self: Any, shape: Any, bits: int, **hyperparameters: Any) -> None:
        super(cls, self).__init__(shape, bits, **hyperparameters)  # type: ignore[arg-type]

    of = inspect.Parameter
    signature = [of(name, of.POSITIONAL_OR_KEYWORD) for name in ("self", "shape", "bits")]
    signature += [
        of(one.name, of.KEYWORD_ONLY, default=one.default, annotation=str if one.options else one.kind)
        for one in parameters.values()
    ]
    __init__.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    __init__.__qualname__, __init__.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    return __init__
