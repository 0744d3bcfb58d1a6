r"""Patterns of words that are matched in a time in proportion to a text, whatever the text.

Python's matcher goes back and tries again: ``(a+)+$`` takes twice as long for each further letter, and ``\w+@`` the
square of their number. It holds the interpreter meanwhile, so that nothing else is answered. The attempts that it makes
at a character are a state of what stands before it: all states that a text can lead to are visited, and a pattern with
one of too many attempts, or with too many states, is refused.
"""

from __future__ import annotations

import sys
from collections import deque
from functools import cache, lru_cache

from texthash.config.pattern_program import Condition, Instruction, Jump, Leaf, UnboundedPatternError, program_of

_ATTEMPTS = 100  # most ways in which one character is read; each takes about ten nanoseconds
_STATES = 5_000
_VISITS = 10_000  # most instructions between two characters
_SHOWN = 20
_EDGE = -1  # what stands before a text, in place of a kind of character

# Where the matches that begin at one place go on, in the order in which they are tried.
_Match = tuple[int, ...]
_BEGIN: _Match = (0,)
# The last kind of character, and the matches that read it, of which the next begins behind the one before.
_State = tuple[int, tuple[_Match, ...]]


@lru_cache(64)
def check_linear(pattern: str) -> None:
    """Raise an error unless the time of ``re.findall`` is bounded by the length of a text times a constant.

    Raises:
        re.error: The pattern is no regular expression.
        UnboundedPatternError: A text makes the matcher try more than 100 ways to read one of its characters, or this
            cannot be found out.
    """
    search = _Search(program_of(pattern))
    start: _State = (_EDGE, ())
    texts = {start: ""}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        for kind, character in enumerate(search.characters):
            after, text = search.read(state, kind), texts[state] + character
            if sum(map(len, after[1])) > _ATTEMPTS:
                shown = f"{text[:_SHOWN]!r}{'...' * (len(text) > _SHOWN)}"
                raise UnboundedPatternError(
                    f"its time grows faster than the length of a text such as {shown}: repeat nothing that repeats "
                    r"itself, let neighbouring repeats match different characters, and begin with \b"
                )
            if after not in texts:
                if len(texts) >= _STATES:
                    raise UnboundedPatternError("it is too complicated for its time to be known: write a shorter one")
                texts[after] = text
                waiting.append(after)


class _Search:
    """All that a program tries on a text.

    Attributes:
        characters: One character of each kind that the program tells apart.
    """

    def __init__(self, program: list[Instruction]) -> None:
        self.program = program
        self.kinds: dict[Leaf, set[int]] = {leaf: set() for leaf in map(_leaf_of, program) if leaf is not None}
        self.characters = self._divide()

    def _divide(self) -> str:
        """Divide all characters by the leaves that match them."""
        toggled: dict[int, set[Leaf]] = {0: set(), sys.maxunicode + 1: set()}
        for leaf in self.kinds:
            for run in leaf.runs.finditer(_all_characters()):
                for place in run.span():
                    toggled.setdefault(place, set()).add(leaf)
        now: frozenset[Leaf] = frozenset()
        characters: dict[frozenset[Leaf], str] = {}
        for place in sorted(toggled)[:-1]:
            now ^= toggled[place]
            characters.setdefault(now, chr(place))
        for kind, leaves in enumerate(characters):
            for leaf in leaves:
                self.kinds[leaf].add(kind)
        return "".join(characters.values())

    def read(self, state: _State, kind: int) -> _State:
        """Return the state after another character."""
        before, matches = state
        after: list[_Match] = []
        for match in matches:
            going_on, ended = self._go_on(match, before, kind)
            if going_on:
                after.append(going_on)
            if ended:  # what would begin within this match is not looked for
                break
        going_on, _ = self._go_on(_BEGIN, before, kind)
        return kind, (*after, going_on) if going_on else tuple(after)

    def _go_on(self, match: _Match, before: int, kind: int) -> tuple[_Match, bool]:
        """Return where a match goes on behind a character, and whether it has ended in front of it.

        What would be tried after a way that ends is not tried, unless it has read nothing: the matcher then looks for
        a match that is not empty.
        """
        going_on: list[int] = []
        waiting: list[tuple[int, frozenset[int]]] = [(at, frozenset()) for at in reversed(match)]
        visits = 0
        while waiting:
            visits += 1
            if visits > _VISITS:
                raise UnboundedPatternError("it has too many parts that may be empty: write a shorter one")
            at, turned = waiting.pop()
            instruction = self.program[at]
            if instruction is None:
                if match != _BEGIN:
                    return tuple(going_on), True
            elif isinstance(instruction, Leaf):
                if kind in self.kinds[instruction]:
                    going_on.append(at + 1)
            elif isinstance(instruction, Condition):
                if self._holds(instruction, before, kind):
                    waiting.append((at + 1, turned))
            elif isinstance(instruction, Jump):
                waiting.append((instruction.to, turned))
            elif at in turned:  # a turn of a loop that has read nothing is the last
                waiting.append((instruction.behind or 0, turned))
            else:
                own = turned | {at} if instruction.behind is not None else turned
                waiting += [(instruction.second, own), (instruction.first, own)]
        return tuple(going_on), False

    def _holds(self, condition: Condition, before: int, kind: int) -> bool:
        """Return whether a condition holds between two characters; the end of the text is never there."""
        own = self.kinds[condition.leaf] if condition.leaf is not None else set()
        match condition.place:
            case "begin":
                return before == _EDGE or before in own
            case "end" | "before":
                return kind in own
            case "not before":
                return kind not in own
            case "behind":
                return before in own
            case "not behind":
                return before not in own
            case "boundary":
                return (before in own) != (kind in own)
            case _:
                return (before in own) == (kind in own)


def _leaf_of(instruction: Instruction) -> Leaf | None:
    return (
        instruction.leaf
        if isinstance(instruction, Condition)
        else instruction
        if isinstance(instruction, Leaf)
        else None
    )


@cache
def _all_characters() -> str:
    return "".join(map(chr, range(sys.maxunicode + 1)))
