"""Walks on a neighbour graph, and a decoder of the documents that they visit.

The decoder has a row for each training document and belongs to training alone: new documents have no links.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Walk = Literal["breadth", "depth", "random", "neighbours"]


def walks(
    near: NDArray[np.int32],
    similarities: NDArray[np.float32],
    starts: Tensor,
    length: int,
    kind: Walk = "breadth",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the nodes that a walk from each start visits, the start among them, each once (Chaidaroon et al., 2020).

    ``breadth``: nearest first, then the neighbours of these; ``depth``: the nearest that is new, back where there is
    none; ``random``: ``length`` steps to a neighbour drawn by rank; ``neighbours``: the first ``length`` of them. Links
    of similarity 0 are none, so that an isolated node visits itself only.

    Args:
        near: Neighbours of each node, best first, int32 [N, k].
        similarities: Their similarities, float32 [N, k].
        starts: Nodes, int64 [B].
        length: Largest number of nodes beside the start.
        kind: Kind of walk.
        generator: Random generator, of random walks.

    Returns:
        int64 [B, length + 1], -1 behind the last node.
    """
    found = np.full((len(starts), length + 1), -1, np.int64)
    # Drawn for all documents at once, so that each has the same numbers whoever its neighbours in the batch are.
    draws = torch.rand((len(starts), length), generator=generator, device=starts.device) if kind == "random" else None
    for i, start in enumerate(starts.tolist()):
        steps = None if draws is None else draws[i].tolist()
        nodes = _visited(near, similarities, start, length, kind, steps)
        found[i, : len(nodes)] = nodes
    return torch.from_numpy(found).to(starts.device)


def _visited(
    near: NDArray, similarities: NDArray, start: int, length: int, kind: Walk, draws: list[float] | None
) -> list[int]:
    def linked(node: int) -> list[int]:
        nodes: list[int] = near[node][similarities[node] > 0].tolist()
        return nodes

    if kind == "neighbours":
        return [start, *linked(start)[:length]]
    if draws is not None:
        node, seen = start, {start: None}
        for u in draws:
            links = linked(node)
            if not links:
                break
            node = links[int(u * len(links))]
            seen[node] = None
        return list(seen)
    seen, waiting = {}, deque([start])
    while waiting and len(seen) <= length:
        node = waiting.popleft() if kind == "breadth" else waiting.pop()
        if node not in seen:
            seen[node] = None
            links = linked(node)
            waiting.extend(links if kind == "breadth" else reversed(links))
    return list(seen)


class NodeDecoder(nn.Module):
    """Decoder from a code to a distribution over the training documents, q(n | z) = softmax(z W^T + b)_n.

    It starts at 0, where all documents are equally likely, in every process alike. With more documents than
    ``exact``, the sum over all of them is estimated: that of the nodes of the batch is taken in full, and that of the
    others from ``drawn`` of them, by the mean of those drawn times their number (so that its mean is the sum itself).

    Args:
        documents: Number N of training documents.
        bits: Width m of the code.
        exact: Largest number of documents over which the sum is taken in full.
        drawn: Documents that are drawn for the estimate.
    """

    def __init__(self, documents: int, bits: int, exact: int = 20_000, drawn: int = 8_192) -> None:
        super().__init__()
        self.exact, self.drawn = exact, drawn
        self.weight = nn.Parameter(torch.zeros(documents, bits))
        self.bias = nn.Parameter(torch.zeros(documents))

    def log_likelihood(self, codes: Tensor, visited: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return sum_{n in walk} log q(n | z) of each document.

        Args:
            codes: z [B, m].
            visited: Nodes of each walk, int64 [B, L], -1 behind the last.
            generator: Random generator of the estimate.

        Returns:
            Tensor [B].
        """
        there = visited >= 0
        own, place = visited[there].unique(return_inverse=True)
        if len(self.bias) <= self.exact:
            scores = torch.addmm(self.bias, codes, self.weight.T)
            total, chosen = torch.logsumexp(scores, dim=1), scores.gather(1, visited.clamp(min=0))
        else:
            drawn = torch.randint(0, len(self.bias), (self.drawn,), generator=generator, device=codes.device)
            others = drawn[~torch.isin(drawn, own)]
            scores = torch.addmm(self.bias[own], codes, self.weight[own].T)
            rest = torch.addmm(self.bias[others], codes, self.weight[others].T)
            rest = rest + float(np.log((len(self.bias) - len(own)) / max(1, len(others))))
            total = torch.logsumexp(torch.cat([scores, rest], dim=1), dim=1)
            places = torch.zeros_like(visited)
            places[there] = place
            chosen = scores.gather(1, places)
        return ((chosen - total[:, None]) * there).sum(dim=1)
