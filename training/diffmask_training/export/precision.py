"""Reduced storage: weights in 8 bits, arithmetic in float32.

Each large matrix is stored as int8 with one float32 scale per output channel (or per
row of a look-up table) and a `Cast` and a `Mul` that restore it. ONNX Runtime folds the
two when it loads the graph, so a run costs what the float32 graph costs; the file is a
quarter. `DequantizeLinear` would say the same but is exempt from that folding and would
run each time.
"""

from collections import defaultdict

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

_MIN_ELEMENTS = 65_536
_LEVELS = 127
_GATES = {"input_gates", "hidden_gates"}


def store_weights_in_8_bits(model: ModelProto) -> ModelProto:
    """Return a copy of a float32 graph with the classifier's matrices in 8 bits.

    Probes stay float32: they are small, and gates turn on small differences.
    """
    reduced = ModelProto()
    reduced.CopyFrom(model)
    graph = reduced.graph
    users: dict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)
    predictions = {value.name for value in graph.output} - _GATES
    classifier = _read_by(graph, predictions)
    restoring: list[NodeProto] = []
    stored = []
    for tensor in graph.initializer:
        weight = numpy_helper.to_array(tensor)
        is_large = (
            weight.dtype == np.float32
            and weight.ndim == 2
            and weight.size >= _MIN_ELEMENTS
            and tensor.name in classifier
        )
        if not is_large:
            stored.append(tensor)
            continue
        codes, scale = _quantised(weight, axis=_channel_axis(users[tensor.name][0]))
        stored.append(numpy_helper.from_array(codes, f"{tensor.name}_codes"))
        stored.append(numpy_helper.from_array(scale, f"{tensor.name}_scale"))
        restoring += _restore(tensor.name)
    nodes = [*restoring, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(stored)
    graph.node.extend(nodes)
    return reduced


def _read_by(graph: GraphProto, outputs: set[str]) -> set[str]:
    # Names of all values that outputs depend on; nodes come in topological order.
    needed = set(outputs)
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
    return needed


def _quantised(
    weight: NDArray[np.float32], *, axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    largest = np.abs(weight).max(axis=1 - axis, keepdims=True)
    scale = (np.maximum(largest, 1e-12) / _LEVELS).astype(np.float32)
    codes = np.clip(np.rint(weight / scale), -_LEVELS, _LEVELS).astype(np.int8)
    return codes, scale


def _channel_axis(node: NodeProto) -> int:
    # Rows of a look-up table and of a transposed Gemm weight are channels; otherwise a
    # weight is [in, out] and its columns are.
    if node.op_type == "Gather":
        return 0
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return 0 if node.op_type == "Gemm" and transposed else 1


def _restore(name: str) -> list[NodeProto]:
    return [
        onnx.helper.make_node(
            "Cast",
            [f"{name}_codes"],
            [f"{name}_float"],
            to=onnx.TensorProto.FLOAT,
            name=f"{name}_cast",
        ),
        onnx.helper.make_node(
            "Mul", [f"{name}_float", f"{name}_scale"], [name], name=f"{name}_restore"
        ),
    ]
