"""Neighbour graphs and weak codes that methods learn from, computed before training.

A graph over codes needs a fitted method. A :class:`~texthash.corpora.prepared.corpus.Split` only opens the files,
because the room of corpora does not depend on methods.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from texthash.corpora.prepared.corpus import Split
from texthash.corpora.prepared.neighbours.cache import GraphName, make_graph
from texthash.corpora.prepared.neighbours.cosine import CosineSearch
from texthash.corpora.prepared.neighbours.dense import DenseSearch
from texthash.corpora.prepared.neighbours.hamming import HammingSearch
from texthash.corpora.prepared.neighbours.search import Search
from texthash.errors import UsageError
from texthash.executor import Executor
from texthash.io.atomic import exclusive, write_array
from texthash.methods.base import ClosedForm, HashMethod
from texthash.methods.registry import build
from texthash.models.encoding import calibrate, encode_split
from texthash.progress import log_line


def ensure_views(method: HashMethod, train: Split, executor: Executor | None = None) -> None:
    """Compute the graphs and codes that a method learns from, unless they exist."""
    if "neighbours" in method.inputs.needs:
        ensure_graph(train, method.inputs.graph, method.inputs.neighbours, executor)
    if "token_vectors" in method.inputs.needs and method.inputs.encoder:
        train.token_vectors(method.inputs.encoder, executor)


def ensure_graph(train: Split, graph: str, k: int, executor: Executor | None = None) -> None:
    """Compute the graph that ``train.neighbours(k, graph)`` opens, unless it exists.

    Args:
        train: Training split.
        graph: Name of the graph: ``cosine:<weighting>``, ``dense:<source>`` or ``hamming:<method>-<bits>``.
        k: Number of neighbours.
        executor: Executor of the search; None: threads of this process.

    Raises:
        UsageError: There is no such graph, method or number of neighbours.
    """
    name = GraphName.parse(graph)

    def search() -> Search:
        if name.kind == "cosine":
            return CosineSearch.of(train.matrix(name.weighting))
        if name.kind == "dense":
            return DenseSearch.of(train.dense(name.of))
        return HammingSearch.of(ensure_codes(train, name.of))

    make_graph(train.cache, name, k, len(train), search, executor)


def ensure_codes(train: Split, model: str) -> NDArray[np.uint8]:
    """Return codes of the training documents by a method in closed form, with its default hyper-parameters.

    Args:
        train: Training split, on which the method is fitted.
        model: Name of the method and width of the codes, ``<method>-<bits>``, such as ``sth-64``.

    Returns:
        Packed codes, uint8 [N, bits / 8], memory-mapped; they are computed unless they exist.

    Raises:
        UsageError: There is no such method, or it learns by gradients.
    """
    path = train.code_file(model)
    if not path.is_file():
        with exclusive(path.with_name(f".{path.stem}.lock")):
            if not path.is_file():
                write_array(path, _fitted_codes(train, model))
    return train.codes(model)


def _fitted_codes(train: Split, model: str) -> NDArray[np.uint8]:
    name, _, bits = model.rpartition("-")
    method = build(name, train.shape, int(bits))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for stage in method.stages():
            if not isinstance(stage, ClosedForm):
                raise UsageError(
                    f"{name} learns by gradients, so it cannot provide the codes of a graph.",
                    "use a method in closed form, such as hamming:sth-64.",
                )
            log_line(f"{model}: {stage.name}")
            stage.fit(train)
        calibrate(method, train)
    return encode_split(method, train)
