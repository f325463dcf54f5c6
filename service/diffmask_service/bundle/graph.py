"""Checks of an ONNX graph before its bytes go to the runtime, and how it is opened.

The latter stands here for training and service alike.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, ValueInfoProto
from onnx.utils import Extractor

from diffmask_service.bundle.manifest import Manifest, TaskName
from diffmask_service.bundle.self_contained import check_self_contained
from diffmask_service.errors import GraphError

_INPUT_TYPES = {
    "input_ids": TensorProto.INT64,
    "attention_mask": TensorProto.INT64,
    "token_type_ids": TensorProto.INT64,
    "keep": TensorProto.FLOAT,
}
_GATES = ("input_gates", "hidden_gates")
# What ONNX Runtime is told not to do when it opens a graph, by device. The operator
# that joins a sum and the norm behind it is slower on a CPU: `benchmarks/norms.py`.
DISABLED_OPTIMIZERS_BY_DEVICE: Mapping[str, Sequence[str]] = {
    "cpu": ("SkipLayerNormFusion",),
    "cuda": (),
}
# Name to shape; a dimension with a name takes any size.
_Shapes: TypeAlias = Mapping[str, tuple[str | int, ...]]


def prediction_outputs(task: TaskName) -> tuple[str, ...]:
    """Return the names of a graph's outputs beside the gates, by task."""
    if task == "question_answering":
        return ("start_logits", "end_logits")
    return ("logits",)


def check_graph(content: bytes, manifest: Manifest, name: str) -> ModelProto:
    """Check that a graph is self-contained and is the one that the manifest describes.

    Args:
        content: The bytes of the file.
        manifest: Names and sizes it must match.
        name: Its file name, for error messages.

    Returns:
        The parsed graph.

    Raises:
        GraphError: It is not ONNX, refers to other files or foreign operators, or has
            other inputs or outputs.
    """
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise GraphError(f"{name}: not an ONNX graph") from error
    check_self_contained(model, name)
    states = len(manifest.states)
    inputs: _Shapes = dict.fromkeys(manifest.inputs, ("batch", "tokens"))
    unknown = set(inputs) - set(_INPUT_TYPES)
    if unknown:
        raise GraphError(f"{name}: input {min(unknown)!r} is not one the service feeds")
    _check_values(model.graph.input, inputs, f"{name}: input")
    outputs: _Shapes = {
        **dict.fromkeys(prediction_outputs(manifest.task), _prediction_shape(manifest)),
        **dict.fromkeys(_GATES, ("batch", states, "tokens")),
    }
    _check_values(model.graph.output, outputs, f"{name}: output")
    for value in model.graph.input:
        if value.type.tensor_type.elem_type != _INPUT_TYPES[value.name]:
            raise GraphError(f"{name}: input {value.name!r} has another element type")
    for value in model.graph.output:
        if value.type.tensor_type.elem_type != TensorProto.FLOAT:
            raise GraphError(f"{name}: output {value.name!r} is not float32")
    return model


def cut_graph(content: bytes, outputs: Sequence[str]) -> bytes:
    """Return a graph that computes some of the outputs of another, and nothing else.

    Args:
        content: The bytes of a checked graph.
        outputs: Names of the outputs to keep.
    """
    model = onnx.load_model_from_string(content)
    inputs = [value.name for value in model.graph.input]
    cut: ModelProto = Extractor(model).extract_model(inputs, list(outputs))
    return cut.SerializeToString()


def _prediction_shape(manifest: Manifest) -> tuple[str | int, ...]:
    match manifest.task:
        case "question_answering":
            return ("batch", "tokens")
        case "token_classification":
            return ("batch", "tokens", len(manifest.labels))
        case _:
            return ("batch", len(manifest.labels))


def _check_values(
    values: Iterable[ValueInfoProto], expected: _Shapes, where: str
) -> None:
    names = [value.name for value in values]
    if sorted(names) != sorted(expected):
        raise GraphError(
            f"{where}s are {', '.join(sorted(names))}; the manifest asks for"
            f" {', '.join(sorted(expected))}"
        )
    for value in values:
        found = [
            dim.dim_value if dim.HasField("dim_value") else None
            for dim in value.type.tensor_type.shape.dim
        ]
        wanted = [
            size if isinstance(size, int) else None for size in expected[value.name]
        ]
        # A symbolic dimension takes any size; a fixed one must be the manifest's.
        is_equal = len(found) == len(wanted) and all(
            size in (None, wish) if wish is not None else size is None
            for size, wish in zip(found, wanted, strict=True)
        )
        if not is_equal:
            raise GraphError(
                f"{where} {value.name!r} has shape {found}, expected"
                f" {list(expected[value.name])}"
            )
