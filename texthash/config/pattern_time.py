r"""Patterns of words that take Python's matcher too long.

The matcher goes back and tries again: ``(a+)+$`` takes twice as long for each further letter, and ``\w+@`` the square
of their number. It holds the interpreter meanwhile, so that nothing else is answered. So a pattern is first tried on
texts that repeat a few characters, in a process of its own, whose main thread can be interrupted while it matches.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, islice, permutations
from typing import NoReturn

USUAL = r"(?u)\b\w\w+\b"  # not tried: it is that of most corpora
_SECONDS = 0.02  # of a processor for one text, 2.4 microseconds a character of the longest; 0.1 are usual
_LENGTHS = (32, 64, 128, 8192)
_CHARACTERS = "a1_- \n\N{LATIN SMALL LETTER E WITH ACUTE}"
_LAST = ("", "\0")  # no pattern goes on at the second, so that it goes back
_MOST_PAIRS, _MOST_TRIPLES = 400, 60
_SHOWN = 20


class UnboundedPatternError(ValueError):
    """Error of a pattern whose time is out of proportion to the length of a text."""


@lru_cache(64)
def check_time(pattern: str) -> None:
    """Raise an error if ``re.findall`` takes too long for a text of repeated characters.

    Raises:
        re.error: The pattern is no regular expression.
        UnboundedPatternError: It takes more than 20 ms for one of these texts, of at most 8,192 characters.
    """
    re.compile(pattern)
    if pattern == USUAL:
        return
    # Without site-packages and the environment: this file needs only the standard library.
    command = [sys.executable, "-I", "-S", __file__]
    done = subprocess.run(command, input=json.dumps(pattern), capture_output=True, encoding="utf-8", check=True)
    text = json.loads(done.stdout)
    if text is not None:
        shown = f"{text[:_SHOWN]!r}{'...' * (len(text) > _SHOWN)}"
        raise UnboundedPatternError(
            f"its time grows faster than the length of a text such as {shown}: repeat nothing that repeats "
            r"itself, let neighbouring repeats match different characters, and begin with \b"
        )


def _slow_text(pattern: str) -> str | None:
    """Return a text that takes too long, in the main thread of a process."""
    find = re.compile(pattern).findall
    signal.signal(signal.SIGVTALRM, _stop)
    text = ""
    try:
        for text in _texts(pattern):
            signal.setitimer(signal.ITIMER_VIRTUAL, _SECONDS)
            find(text)
    except TimeoutError:
        return text
    return None


def _texts(pattern: str) -> Iterator[str]:
    characters = dict.fromkeys(_CHARACTERS + pattern)
    words = dict.fromkeys(re.findall(r"\w+", re.sub(r"\\.|\(\?\w", " ", pattern)))
    pairs = islice(permutations(characters, 2), _MOST_PAIRS - len(characters))
    triples = islice(permutations(dict.fromkeys("".join(words)), 3), _MOST_TRIPLES)
    for unit in (*characters, *words, *map("".join, chain(pairs, triples))):
        for length in _LENGTHS:
            for last in _LAST:
                yield unit * -(-length // len(unit)) + last


def _stop(*_: object) -> NoReturn:
    raise TimeoutError


if __name__ == "__main__":
    json.dump(_slow_text(json.load(sys.stdin)), sys.stdout)
