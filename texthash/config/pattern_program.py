"""Program of a regular expression: what Python's matcher tries, in the order in which it tries it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

# The parser of the standard library, so that a pattern is read as it is matched; its modules have no public name.
_parser: Any = import_module("re._parser")
_compiler: Any = import_module("re._compiler")
_LONGEST = 4_000  # instructions; repeats are written out
_LEAVES = ("LITERAL", "NOT_LITERAL", "ANY", "IN")
_ANCHORS = {
    "AT_BEGINNING": "begin",
    "AT_BEGINNING_STRING": "begin",
    "AT_BOUNDARY": "boundary",
    "AT_NON_BOUNDARY": "inside",
    "AT_END": "end",
    "AT_END_STRING": "end",
}
Place = Literal["begin", "end", "boundary", "inside", "before", "not before", "behind", "not behind"]


class UnboundedPatternError(ValueError):
    """Error of a pattern whose time is not known to be in proportion to the length of a text."""


@dataclass(frozen=True)
class Leaf:
    """One character of a text; ``runs`` matches one or more of those that are meant."""

    runs: re.Pattern[str]


@dataclass(frozen=True)
class Condition:
    """Condition on the characters on both sides of a place.

    Attributes:
        place: ``begin`` or ``end`` of the text or, with a leaf, of a line; ``boundary`` of a word or ``inside`` of what
            lies between; ``before`` or ``behind`` a character, or not.
        leaf: Line break, character of a word, or character that is looked at.
    """

    place: Place
    leaf: Leaf | None


@dataclass(frozen=True)
class Split:
    """Two instructions to go on at, the first of which is tried first; ``behind`` is the end of a loop that begins."""

    first: int
    second: int
    behind: int | None = None


@dataclass(frozen=True)
class Jump:
    """Instruction to go on at."""

    to: int


Instruction = Leaf | Condition | Split | Jump | None  # None: the pattern has matched


def program_of(pattern: str) -> list[Instruction]:
    """Return the program of a pattern, which begins at its first instruction and matches at its last, None.

    Raises:
        re.error: The pattern is no regular expression.
        UnboundedPatternError: It has a part that goes beyond regular languages, or more than 4,000 instructions.
    """
    tree = _parser.parse(pattern)
    writer = _Writer(tree.state)
    writer.sequence(tree, tree.state.flags)
    writer.emit(None)
    return writer.program


class _Writer:
    def __init__(self, state: Any) -> None:
        self.state = state
        self.program: list[Instruction] = []

    def emit(self, instruction: Instruction) -> int:
        if len(self.program) >= _LONGEST:
            raise UnboundedPatternError("it is too long for its time to be known: give smaller numbers of repeats")
        self.program.append(instruction)
        return len(self.program) - 1

    def leaf(self, item: Any, flags: int) -> Leaf:
        repeated = (_parser.MAX_REPEAT, (1, _parser.MAXREPEAT, _parser.SubPattern(self.state, [item])))
        # The flags of the whole pattern are in its state, which is passed on without those that a group takes away.
        state = _parser.State()
        state.flags = flags
        return Leaf(_compiler.compile(_parser.SubPattern(state, [repeated])))

    def sequence(self, items: Iterable[Any], flags: int) -> None:
        for operation, value in items:
            self.item(str(operation), operation, value, flags)

    def item(self, name: str, operation: Any, value: Any, flags: int) -> None:
        if name in _LEAVES:
            self.emit(self.leaf((operation, value), flags))
        elif name == "AT":
            self.emit(self.anchor(str(value), flags))
        elif name == "BRANCH":
            self.branches(value[1], flags)
        elif name == "SUBPATTERN":
            _, added, removed, inside = value
            self.sequence(inside, (flags | added) & ~removed)
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, inside = value
            self.repeat(least, None if most is _parser.MAXREPEAT else most, inside, flags, name == "MIN_REPEAT")
        elif name in ("ASSERT", "ASSERT_NOT") and len(value[1]) == 1 and str(value[1][0][0]) in _LEAVES:
            side = "before" if value[0] > 0 else "behind"
            self.emit(Condition(side if name == "ASSERT" else f"not {side}", self.leaf(value[1][0], flags)))  # type: ignore[arg-type]
        else:
            raise UnboundedPatternError(
                "its time is not known, because of a reference to a group, an atomic or possessive part, or a look at "
                "more than one character: write it without"
            )

    def anchor(self, name: str, flags: int) -> Condition:
        place = _ANCHORS[name]
        of_lines = flags & re.MULTILINE and not name.endswith("STRING")
        if place in ("begin", "end"):
            line_break = (_parser.LITERAL, ord("\n"))
            return Condition(place, self.leaf(line_break, 0) if of_lines else None)  # type: ignore[arg-type]
        word = (_parser.IN, [(_parser.CATEGORY, _parser.CATEGORY_WORD)])
        return Condition(place, self.leaf(word, flags & (re.ASCII | re.UNICODE)))  # type: ignore[arg-type]

    def branches(self, branches: list[Any], flags: int) -> None:
        ends = []
        for branch in branches[:-1]:
            split = self.emit(None)
            self.sequence(branch, flags)
            ends.append(self.emit(None))
            self.program[split] = Split(split + 1, len(self.program))
        self.sequence(branches[-1], flags)
        for end in ends:
            self.program[end] = Jump(len(self.program))

    def repeat(self, least: int, most: int | None, inside: Any, flags: int, lazy: bool) -> None:
        for _ in range(least):
            self.sequence(inside, flags)
        splits = []
        for _ in range(1 if most is None else most - least):
            splits.append(self.emit(None))
            self.sequence(inside, flags)
        if most is None:
            self.emit(Jump(splits[0]))
        behind = len(self.program)
        for split in splits:
            places = (behind, split + 1) if lazy else (split + 1, behind)
            self.program[split] = Split(*places, behind if most is None else None)
