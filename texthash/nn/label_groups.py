"""Two levels of labels: the groups of a tree, and their probabilities from those of their labels.

The group of a label is its parent. A label without a parent is a group, together with its children: so a label that a
tree lacks is alone in its own, and in a flat tree groups and labels are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def membership(parents: Sequence[int], labels: int) -> Tensor:
    """Return U [C, G], 1 where label c is in group g; groups are in the order of their numbers in the tree.

    Args:
        parents: Number of the parent of each label and of each of their ancestors, -1 for none, as in
            :class:`~texthash.corpora.label_tree.LabelTree`.
        labels: Number C of labels, the first of these.
    """
    group = [int(parents[label]) if parents[label] >= 0 else label for label in range(labels)]
    numbers = {g: i for i, g in enumerate(sorted(set(group)))}
    return F.one_hot(torch.tensor([numbers[g] for g in group]), len(numbers)).float()


def groups_of(labels: Tensor, members: Tensor) -> Tensor:
    """Return which groups documents belong to, 0 or 1, [n, G], from labels y [n, C] and U [C, G]."""
    return (labels @ members > 0).to(labels.dtype)


def any_of(logits: Tensor, members: Tensor) -> Tensor:
    """Return q_P = 1 - prod_{c in P} (1 - q_c), q_c = sigma(logits_c), for each group P of labels.

    It is the probability that a document has any label of the group if labels are independent (the noisy or of Pearl,
    1988; Guo et al., 2022).

    Computed from the logits, so that a label that is certain leaves the gradient finite.

    Args:
        logits: Logits of the labels, [n, C].
        members: U [C, G].

    Returns:
        Tensor [n, G].
    """
    return -torch.expm1(F.logsigmoid(-logits) @ members)
