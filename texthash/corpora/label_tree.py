"""Trees of labels: the labels of a corpus and their ancestors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from texthash.errors import CorpusError


@dataclass(frozen=True)
class LabelTree:
    """Labels of a corpus and their ancestors.

    Attributes:
        names: Labels in the order of their numbers, then, sorted, the ancestors that no document has.
        parents: Number of each one's parent, -1 at a root; int32 [names].
    """

    names: list[str]
    parents: NDArray[np.int32]

    @classmethod
    def of(cls, labels: Sequence[str], parents: Mapping[str, str]) -> LabelTree:
        """Build a tree from the parent of each label by name.

        Raises:
            CorpusError: A label is its own ancestor.
        """
        names = [*labels, *sorted({*parents, *parents.values()}.difference(labels))]
        number = {name: i for i, name in enumerate(names)}
        above = np.array([number[parents[name]] if name in parents else -1 for name in names], np.int32)
        tree = cls(names, above)
        if any(len(path) > len(names) for path in map(tree.path, range(len(names)))):
            raise CorpusError(
                "the tree of labels has a cycle: a label is its own ancestor.", "correct label_parents of the reader."
            )
        return tree

    def path(self, label: int) -> list[int]:
        """Return a label and its ancestors, up to the root."""
        path = [label]
        while self.parents[path[-1]] >= 0 and len(path) <= len(self.names):
            path.append(int(self.parents[path[-1]]))
        return path

    @property
    def depth(self) -> NDArray[np.int32]:
        """Number of ancestors of each; int32 [names]."""
        return np.array([len(self.path(label)) - 1 for label in range(len(self.names))], np.int32)
