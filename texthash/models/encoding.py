"""Encoding of documents into packed codes by a fitted method."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from texthash.corpora.prepared.batches import Batch, batches
from texthash.corpora.prepared.corpus import Split
from texthash.hamming.codes import pack
from texthash.methods.base import HashMethod, Role

ENCODING_BATCH = 1024


def device_of(method: HashMethod) -> torch.device:
    """Return the device of the method's parameters and buffers."""
    return method.binarizer.thresholds.device


@torch.inference_mode()
def activations_of(method: HashMethod, documents: Iterable[Batch], role: Role = "document") -> torch.Tensor:
    """Return real-valued codes [N, bits] of all documents, computed in eval mode, without randomness."""
    was_training = method.training
    if was_training:
        method.eval()
    device = device_of(method)
    parts = [method.activations(batch.to(device), role).float() for batch in documents]
    if was_training:
        method.train()
    return torch.cat(parts) if parts else torch.empty(0, method.bits)


def split_batches(method: HashMethod, split: Split) -> Iterable[Batch]:
    """Return the documents of a split in order, with the inputs that the method needs to encode them."""
    return batches(split, ENCODING_BATCH, method.encoding_inputs)


def calibrate(method: HashMethod, train: Split) -> None:
    """Set the thresholds of the method's binarizer from the training documents, if it has such thresholds."""
    if method.binarizer.needs_train:
        method.binarizer.calibrate(activations_of(method, split_batches(method, train)))


@torch.inference_mode()
def binarize(method: HashMethod, activations: torch.Tensor) -> np.ndarray:
    """Binarize activations [N, bits] into packed codes, uint8 [N, bits / 8]."""
    return pack(method.binarizer(activations.to(device_of(method))).cpu().numpy())


def pre_threshold_margins(method: HashMethod, activations: torch.Tensor) -> np.ndarray:
    """Return activations [N, bits] minus the thresholds of the binarizer, float32: bit = margin > 0."""
    return (activations - method.binarizer.thresholds.to(activations.device)).float().cpu().numpy()


def query_values(method: HashMethod, activations: torch.Tensor) -> np.ndarray:
    """Return the real values of queries that are compared with the bits of documents, float32 [N, bits].

    They are those of :func:`pre_threshold_margins`, shifted where the method has learned to.
    """
    margins, shift = pre_threshold_margins(method, activations), method.query_shift()
    return margins if shift is None else margins + shift.detach().cpu().numpy()


def encode_split(method: HashMethod, split: Split, role: Role = "document") -> np.ndarray:
    """Encode a split into packed codes, uint8 [N, bits / 8], in order.

    The training documents get the method's own database codes if it defines them.
    """
    if split.name == "train" and role == "document":
        own = method.database_codes()
        if own is not None:
            return own
    # Binarized batch by batch: real values of all documents would take 32 times the memory of their codes.
    return np.concatenate([binarize(method, activations_of(method, [b], role)) for b in split_batches(method, split)])
