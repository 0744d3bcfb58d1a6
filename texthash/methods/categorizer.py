"""Methods that put each document into one of k categories.

An index of such a model writes the category of a document as its attribute :data:`~texthash.api.attributes.CATEGORY`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from texthash.api.attributes import CATEGORY, AttributeType
from texthash.corpora.prepared.batches import Batch
from texthash.errors import UsageError
from texthash.methods.base import HashMethod


@runtime_checkable
class Categorizer(Protocol):
    """Method with categories of documents."""

    def document_categories(self, batch: Batch) -> Tensor:
        """Return the category of each document, int64 [B] from 0."""
        ...


def attributes_of(method: HashMethod | type[HashMethod]) -> dict[str, AttributeType]:
    """Return the types of the attributes that an index writes by a method, by name."""
    cls = method if isinstance(method, type) else type(method)
    return {CATEGORY: "string"} if issubclass(cls, Categorizer) else {}


def check_own_attributes(method: HashMethod, types: Mapping[str, AttributeType]) -> None:
    """Raise :class:`UsageError` if an attribute of the documents has the name of one that an index writes."""
    if taken := attributes_of(method).keys() & types.keys():
        raise UsageError(
            f"documents have an attribute {min(taken)}, which an index of this model writes itself.",
            "give theirs another name, or leave it out.",
        )


@torch.inference_mode()
def categories_of(method: HashMethod, batch: Batch) -> NDArray[np.int64] | None:
    """Return the category of each document of a batch, int64 [B]; None of a method without categories."""
    if not isinstance(method, Categorizer):
        return None
    return method.document_categories(batch).cpu().numpy()
