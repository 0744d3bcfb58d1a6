"""Form in which a method's few texts are encoded without torch, where its layers allow it."""

from __future__ import annotations

import torch
from torch import nn

from texthash.corpora.prepared.inputs import OF_TEXT
from texthash.methods.base import HashMethod
from texthash.models.direct import DirectEncoder, DirectForm, FeatureForm, LayerForm
from texthash.nn.encoders import MLPEncoder, SparseLinear
from texthash.nn.projections import Projection


def form_of(method: HashMethod) -> DirectForm | None:
    """Return the form of a method; None if its activations are no chain of layers over words and vectors."""
    modules = method.serving_layers()
    inputs = method.encoding_inputs
    if not modules or method.inputs.only(OF_TEXT).needs - {"dense"}:
        return None
    if _owner(method, "activations") is not _owner(method, "serving_layers"):
        return None  # A subclass computes something else.
    first, *others = modules
    chain: list[tuple[nn.Module, bool]] = []
    if isinstance(first, MLPEncoder) and not first.slope:
        chain += [(first.first, True), *((layer, True) for layer in first.rest)]
    elif isinstance(first, SparseLinear):
        chain.append((first, False))
    else:
        return None
    chain += [(module, False) for module in others]
    reads_vectors = isinstance(first, Projection) and first.read != "words"
    if reads_vectors != ("dense" in method.inputs.needs) or (reads_vectors and inputs.encoder is None):
        return None
    names = {id(tensor): name for name, tensor in method.state_dict(keep_vars=True).items()}
    layers = [_layer(module, positive, names) for module, positive in chain]
    found = tuple(layer for layer in layers if layer is not None)
    thresholds = names[id(method.binarizer.thresholds)]
    own = method.query_shift()
    shift = None if own is None else names[id(own)]
    if len(found) < len(layers):
        return None
    return DirectForm(inputs.weighting, found, thresholds, shift, _features(first, inputs.encoder, names))


def direct_encoder(method: HashMethod) -> DirectEncoder | None:
    """Return the encoder of a method with its present weights; None if it has another form or is on a GPU."""
    form = form_of(method)
    if form is None or method.binarizer.thresholds.device.type != "cpu":
        return None
    tensors = method.state_dict()
    return DirectEncoder(form, lambda name: tensors[name].numpy())


def _owner(method: HashMethod, name: str) -> type:
    return next(kind for kind in type(method).__mro__ if name in vars(kind))


def _features(first: nn.Module, encoder: str | None, names: dict[int, str]) -> FeatureForm | None:
    if encoder is None or not isinstance(first, Projection) or first.read == "words":
        return None
    return FeatureForm(encoder, names[id(first.features)], 1.0 if first.read == "features" else first.share)


def _layer(module: nn.Module, positive: bool, names: dict[int, str]) -> LayerForm | None:
    if not isinstance(module, (SparseLinear, nn.Linear)) or module.weight.dtype != torch.float32:
        return None
    if module.bias is None:
        return None
    transposed = isinstance(module, nn.Linear)
    return LayerForm(names[id(module.weight)], names[id(module.bias)], transposed, positive)
