"""Eight-bit integers in place of the float32 weights of an ONNX graph.

A product ``x W`` (x float32 [T, K], W [K, N] constant) is computed as

    x W  ~  s (q(x / a) - z) (q(a W) * t)

with q(a W) int8 and one scale t_n for each output, and q(x / a) uint8, one scale s and zero z for all of x, taken from
its extremes when it is computed. Some channels of a transformer are larger by a factor of four and more in every text;
they alone would decide s. So they are divided by a_k and their weights multiplied by it (Xiao et al., 2023,
"SmoothQuant"; here only for the few that stand out, and in powers of two, which round nothing and are the same on every
machine).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The channel of this rank by size sets the range; those above it are divided. Of the ranks from 2 to 64 these have the
# highest worst cosine over 1,000 texts of five corpora. Within a feed-forward step, where there are more channels than
# elsewhere, fewer stand out in every text.
_RANK, _RANK_WIDE = 32, 4


def quantize(model: Any, calibration: Iterable[NDArray[np.int64]]) -> None:
    """Replace the products with constant matrices, in place.

    Args:
        model: ``onnx.ModelProto`` with one input, of word pieces [1, T].
        calibration: Inputs with which the size of the channels is measured, int64 [1, T] each.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in constants]
    sizes = _sizes(model, products, calibration)
    narrow = min((len(size) for size in sizes.values()), default=0)
    divisors = {name: _divisors(size, _RANK if len(size) == narrow else _RANK_WIDE) for name, size in sizes.items()}
    readers = _readers(graph)
    made, divided, dropped = [], set(), {node.name for node in products}
    for node in graph.node:
        if node.name not in dropped:
            made.append(node)
            continue
        if node.op_type != "MatMul":  # an addition of a bias, which the product does
            continue
        source, weights = node.input[0], numpy_helper.to_array(constants[node.input[1]])
        divisor = divisors[source]
        if (divisor > 1).any():
            weights = weights * divisor[:, None]
            if source not in divided:
                graph.initializer.append(numpy_helper.from_array(1 / divisor, f"{source}.inverse"))
                made.append(helper.make_node("Mul", [source, f"{source}.inverse"], [f"{source}.even"]))
                divided.add(source)
            source = f"{source}.even"
        scales = np.maximum(np.abs(weights).max(axis=0), np.finfo(np.float32).tiny) / 127
        names = [f"{node.name}.weights", f"{node.name}.scales"]
        graph.initializer.append(numpy_helper.from_array(np.rint(weights / scales).astype(np.int8), names[0]))
        graph.initializer.append(numpy_helper.from_array(scales.astype(np.float32), names[1]))
        inputs, output = [source, *names], node.output[0]
        if addition := _bias(readers.get(output, []), constants):
            bias = next(name for name in addition.input if name in constants)
            inputs, output = [source, *names, "", bias], addition.output[0]
            dropped.add(addition.name)
        made.append(helper.make_node("DynamicQuantizeMatMul", inputs, [output], domain="com.microsoft"))
    del graph.node[:]
    graph.node.extend(made)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _divisors(size: NDArray[np.float32], rank: int) -> NDArray[np.float32]:
    """Return a power of two for each channel: 1 but for the largest ones."""
    usual = float(np.sort(size)[::-1][min(rank, len(size) - 1)])
    ratio = np.maximum(size / max(usual, float(np.finfo(np.float32).tiny)), 1)
    return np.exp2(np.rint(np.log2(ratio))).astype(np.float32)


def _sizes(model: Any, products: list[Any], calibration: Iterable[NDArray[np.int64]]) -> dict[str, NDArray[np.float32]]:
    """Return the largest magnitude of each channel of what goes into the products."""
    import onnx
    from onnxruntime import InferenceSession

    names = sorted({node.input[0] for node in products})
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    del opened.graph.output[:]
    opened.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = InferenceSession(opened.SerializeToString(), providers=["CPUExecutionProvider"])
    largest: dict[str, NDArray[np.float32]] = {}
    for pieces in calibration:
        for name, values in zip(names, session.run(None, {model.graph.input[0].name: pieces}), strict=True):
            size = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest.get(name, size), size)
    return largest


def _readers(graph: Any) -> dict[str, list[Any]]:
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def _bias(readers: list[Any], constants: dict[str, Any]) -> Any | None:
    """Return the one node that reads a product, if it adds a constant vector."""
    if len(readers) != 1 or readers[0].op_type != "Add":
        return None
    added = [constants[name] for name in readers[0].input if name in constants]
    return readers[0] if len(added) == 1 and len(added[0].dims) == 1 else None
