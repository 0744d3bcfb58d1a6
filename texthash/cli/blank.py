"""Refusal of blank arguments, which types would read as something else: an empty path is the present directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from texthash.errors import UsageError

_TEXTS = ("texts", "query")  # parameters that a blank text is a value of
_NAMES = ("ids", "document_id", "label")  # parameters that white space is a value of


def refuse_blank(command: Any) -> None:
    """Make a command, and those below it, raise :class:`UsageError` for a blank value of an option or argument.

    Args:
        command: Command of typer, which is changed.
    """
    for parameter in command.params:
        if parameter.name not in _TEXTS:
            parameter.process_value = _checked(parameter, parameter.process_value)
    for below in getattr(command, "commands", {}).values():
        refuse_blank(below)


def _checked(parameter: Any, process: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def check(context: Any, value: Any) -> Any:
        for text in _texts(value):
            if not (text if parameter.name in _NAMES else text.strip()):
                name = parameter.opts[0] if parameter.param_type_name == "option" else parameter.name.upper()
                raise UsageError(f"{name} is blank: {text!r}.", f"give it a value; see {context.command_path} --help.")
        return process(context, value)

    return check


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
