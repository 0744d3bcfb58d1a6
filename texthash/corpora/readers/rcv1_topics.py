"""Topics of RCV1: their tree, and their assignment to the 804,414 stories."""

from __future__ import annotations

import re
from array import array
from pathlib import Path

import numpy as np

from texthash.corpora.readers import text_files
from texthash.errors import CorpusError

TREE = "rcv1.topics.hier.orig"
TOP = ("CCAT", "ECAT", "GCAT", "MCAT")
_BELOW = """
C11 C12 C13 C14 C15 C151 C1511 C152 C16 C17 C171 C172 C173 C174 C18 C181 C182 C183 C21 C22 C23 C24 C31 C311 C312 C313
C32 C33 C331 C34 C41 C411 C42 E11 E12 E121 E13 E131 E132 E14 E141 E142 E143 E21 E211 E212 E31 E311 E312 E313 E41 E411
E51 E511 E512 E513 E61 E71 G15 G151 G152 G153 G154 G155 G156 G157 G158 G159 GCRIM GDEF GDIP GDIS GENT GENV GFAS GHEA
GJOB GMIL GOBIT GODD GPOL GPRO GREL GSCI GSPO GTOUR GVIO GVOTE GWEA GWELF M11 M12 M13 M131 M132 M14 M141 M142 M143
"""
TOPICS = (*TOP, *_BELOW.split())
# Codes with digits get one more digit per level: CCAT, C15, C151, C1511. All others are children of a root.
PARENTS = {
    topic: topic[:-1] if topic[1:].isdigit() and len(topic) > 3 else f"{topic[0]}CAT" for topic in _BELOW.split()
}
_BRANCH = re.compile(r"parent:\s*(\S+)\s+child:\s*(\S+)\s+child-description:.*")
_AGAIN = "fetch the file again, as it is published."


def read_tree(path: Path) -> dict[str, str]:
    """Return the parent of each topic, from ``rcv1.topics.hier.orig``: ``parent: C15 child: C151 ...``.

    Raises:
        CorpusError: A line is malformed (names file and line).
    """
    parents = {}
    for line, text in text_files.lines(path):
        if not text.strip():
            continue
        branch = _BRANCH.fullmatch(text.strip())
        if branch is None:
            raise CorpusError(f"{path}:{line}: not parent: ... child: ... child-description: ...", _AGAIN)
        parent, child = branch.groups()
        if child in TOPICS and parent in TOPICS:  # the others are Root and its ancestors
            parents[child] = parent
    return parents


class Topics:
    """Topics of every story, from ``rcv1-v2.topics.qrels``. Memory: 1 byte per assignment, 12 per story."""

    def __init__(self, path: Path) -> None:
        self._path = path
        codes = {topic: code for code, topic in enumerate(TOPICS)}
        found, numbers = array("B"), array("q")
        for line, text in text_files.lines(path, "latin-1"):
            cells = text.split()
            if len(cells) != 3 or cells[0] not in codes or cells[2] != "1":
                raise CorpusError(f"{path}:{line}: {text.strip()[:40]!r} is not a topic, a number and 1.", _AGAIN)
            found.append(codes[cells[0]])
            numbers.append(number(cells[1], path, line))
        of_line = np.frombuffer(numbers, np.int64)
        order = np.argsort(of_line, kind="stable")
        self._codes = np.frombuffer(found, np.uint8)[order]
        self._numbers, starts = np.unique(of_line[order], return_index=True)
        self._bounds = np.append(starts, len(order)).astype(np.int32)

    def of(self, story: int, origin: str) -> list[str]:
        """Return the topics of a story, in the order of the file; raises :class:`CorpusError` if it has none."""
        row = int(np.searchsorted(self._numbers, story))
        if row == len(self._numbers) or self._numbers[row] != story:
            raise CorpusError(f"{origin}: {self._path} has no topic of the story {story}.", _AGAIN)
        return [TOPICS[code] for code in self._codes[self._bounds[row] : self._bounds[row + 1]]]


def number(text: str, path: Path, line: int) -> int:
    """Parse the number of a story; raises :class:`CorpusError` naming file and line."""
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise CorpusError(f"{path}:{line}: {text[:40]!r} is not the number of a story.", _AGAIN)
    return int(text)
