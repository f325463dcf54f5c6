"""Whether a graph is all there: no other files, no foreign code, no absurd sizes.

Every message of the file is looked at, wherever it is nested: the bodies of control
flow are graphs, and a tensor may hang on any attribute. What this release of `onnx`
does not know is refused, as the runtime might.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    OperatorSetIdProto,
    TensorProto,
    TensorShapeProto,
    numpy_helper,
)

from diffmask_service.errors import GraphError

# The standard operators and ONNX Runtime's own fused ones; nothing that a library
# loaded at run time would have to bring.
_DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})
# They read files, call other code or decode other formats, or need never end.
_REFUSED_OPERATORS = frozenset(
    {"ATen", "ATenGrad", "EPContext", "ImageDecoder", "Loop", "PythonOp"}
)
# Which input says how large the output is.
_SIZE_BY_OPERATOR: Mapping[str, int] = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1}
_MAX_NODES = 100_000
_MAX_TENSORS = 100_000
_MAX_ELEMENTS = 1 << 31
_MAX_MADE_ELEMENTS = 1 << 28
_MAX_METADATA_BYTES = 8 << 20
# The runtime could be told to read its settings out of it.
_RUNTIME_SETTINGS = "ort_config"
_BITS_BY_TYPE: Mapping[int, int] = {
    TensorProto.FLOAT: 32,
    TensorProto.UINT8: 8,
    TensorProto.INT8: 8,
    TensorProto.UINT16: 16,
    TensorProto.INT16: 16,
    TensorProto.INT32: 32,
    TensorProto.INT64: 64,
    TensorProto.BOOL: 8,
    TensorProto.FLOAT16: 16,
    TensorProto.DOUBLE: 64,
    TensorProto.UINT32: 32,
    TensorProto.UINT64: 64,
    TensorProto.BFLOAT16: 16,
    TensorProto.UINT4: 4,
    TensorProto.INT4: 4,
}
_DATA_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def check_self_contained(model: ModelProto, name: str) -> None:
    """Check that a graph needs nothing but itself, and no more room than it may.

    Args:
        model: The parsed file.
        name: Its file name, for error messages.

    Raises:
        GraphError: It does.
    """
    num_metadata_bytes = 0
    for message in _messages(model):
        if len(UnknownFieldSet(message)):
            raise GraphError(
                f"{name}: holds fields that this release does not know, in a"
                f" {message.DESCRIPTOR.name}"
            )
        kind = message.DESCRIPTOR.name
        if kind in _REFUSED_BY_MESSAGE:
            raise GraphError(f"{name}: holds {_REFUSED_BY_MESSAGE[kind]}")
        if kind in _CHECK_BY_MESSAGE:
            _CHECK_BY_MESSAGE[kind](message, name)
        num_metadata_bytes += _count_metadata(message, name)
    # Last, as it reads tensors that are checked by now.
    for message in _messages(model):
        if isinstance(message, GraphProto):
            _check_made_sizes(message, name)
    if num_metadata_bytes > _MAX_METADATA_BYTES:
        raise GraphError(
            f"{name}: holds {num_metadata_bytes} bytes of metadata; at most"
            f" {_MAX_METADATA_BYTES} are read"
        )


def _messages(root: Message) -> Iterator[Message]:
    waiting = [root]
    while waiting:
        message = waiting.pop()
        yield message
        for field, value in message.ListFields():
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                waiting.extend([value] if isinstance(value, Message) else value)


def _count_metadata(message: Any, name: str) -> int:
    if message.DESCRIPTOR.name != "StringStringEntryProto":
        return 0
    if message.key == _RUNTIME_SETTINGS:
        raise GraphError(f"{name}: holds settings of the runtime ({message.key})")
    return len(message.key) + len(message.value)


def _check_operators(operators: OperatorSetIdProto, name: str) -> None:
    _check_domain(operators.domain, "the operator set", name)


def _check_domain(domain: str, what: str, name: str) -> None:
    if domain not in _DOMAINS:
        raise GraphError(
            f"{name}: {what} of domain {domain!r} is not allowed; only ONNX and ONNX"
            " Runtime operators are"
        )


def _check_node(node: NodeProto, name: str) -> None:
    _check_domain(node.domain, f"operator {node.op_type!r}", name)
    if node.op_type in _REFUSED_OPERATORS:
        raise GraphError(
            f"{name}: operator {node.op_type!r} is not allowed; it may reach out of the"
            " graph, or never end"
        )


def _check_dimension(size: TensorShapeProto.Dimension, name: str) -> None:
    if not 0 <= size.dim_value < _MAX_ELEMENTS:
        raise GraphError(f"{name}: a value has {size.dim_value} for a dimension")


def _check_tensor(tensor: TensorProto, name: str) -> None:
    if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
        raise GraphError(
            f"{name}: tensor {tensor.name!r} lies in another file; a bundle's graph"
            " holds its own data"
        )
    bits = _BITS_BY_TYPE.get(tensor.data_type)
    if bits is None:
        raise GraphError(
            f"{name}: tensor {tensor.name!r} has element type {tensor.data_type}, which"
            " no graph of a bundle needs"
        )
    shape = list(tensor.dims)
    num_elements = math.prod(shape)
    if any(size < 0 for size in shape) or num_elements > _MAX_ELEMENTS:
        raise GraphError(f"{name}: tensor {tensor.name!r} has shape {shape[:8]}")
    found = [len(tensor.raw_data), *(len(getattr(tensor, f)) for f in _DATA_FIELDS)]
    # In a field of their own, elements of 4 bits lie there in twos.
    num_entries = math.ceil(num_elements / 2) if bits == 4 else num_elements
    num_bytes = math.ceil(num_elements * bits / 8)
    if sum(found) != (num_bytes if found[0] else num_entries) or max(found) < sum(
        found
    ):
        raise GraphError(
            f"{name}: tensor {tensor.name!r} does not hold the data of its shape"
            f" {shape[:8]}"
        )


def _check_graph(graph: GraphProto, name: str) -> None:
    if len(graph.node) > _MAX_NODES or len(graph.initializer) > _MAX_TENSORS:
        raise GraphError(
            f"{name}: holds {len(graph.node)} operators and {len(graph.initializer)}"
            f" tensors; at most {_MAX_NODES} and {_MAX_TENSORS} are read"
        )
    _check_names(graph, name)


def _check_names(graph: GraphProto, name: str) -> None:
    seen: set[str] = set()
    for made in (
        *(value.name for value in graph.input),
        *(tensor.name for tensor in graph.initializer),
        *(output for node in graph.node for output in node.output if output),
    ):
        if made in seen:
            raise GraphError(f"{name}: {made!r} is defined twice")
        seen.add(made)


def _check_made_sizes(graph: GraphProto, name: str) -> None:
    # Tensors that stand in the file as a few bytes and are unfolded by the runtime,
    # some of them before the first run.
    stored = _stored(graph)
    for node in graph.node:
        place = _SIZE_BY_OPERATOR.get(node.op_type, len(node.input))
        tensor = stored.get(node.input[place]) if place < len(node.input) else None
        if tensor is None or tensor.data_type != TensorProto.INT64:
            continue
        sizes: list[int] = np.ravel(numpy_helper.to_array(tensor)).tolist()
        if math.prod(max(size, 1) for size in sizes) > _MAX_MADE_ELEMENTS:
            raise GraphError(
                f"{name}: operator {node.op_type!r} makes a tensor of shape {sizes[:8]}"
            )


def _stored(graph: GraphProto) -> dict[str, TensorProto]:
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            tensors = [each.t for each in node.attribute if each.HasField("t")]
            stored.update(zip(node.output, tensors, strict=False))
    return stored


_CHECK_BY_MESSAGE: Mapping[str, Callable[[Any, str], None]] = {
    "Dimension": _check_dimension,
    "GraphProto": _check_graph,
    "NodeProto": _check_node,
    "OperatorSetIdProto": _check_operators,
    "TensorProto": _check_tensor,
}
_REFUSED_BY_MESSAGE: Mapping[str, str] = {
    "FunctionProto": "local functions, which may be anything",
    "SparseTensorProto": "sparse tensors",
    "TrainingInfoProto": "a graph for training; export it without",
}
