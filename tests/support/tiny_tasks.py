"""The tiny model with another task, known by the same arithmetic."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from diffmask_service.bundle import (
    Bundle,
    Manifest,
    TaskName,
    ValueDefinition,
    write_bundle,
)
from tests.support.tiny import (
    WEIGHT_BY_TOKEN,
    tiny_files,
    tiny_manifest,
    tiny_model,
    tiny_selftest,
    write_tiny_bundle,
    write_tiny_pair_bundle,
    write_tiny_span_bundle,
)

_SELFTEST_TOKENS = ("[CLS]", "a", "fun", "##ny", "movie", "[SEP]")


def write_tiny_task_bundle(directory: Path, task: TaskName) -> Bundle:
    """Write a bundle of the task; that of pairs is `write_tiny_pair_bundle`'s."""
    match task:
        case "question_answering":
            return write_tiny_span_bundle(directory)
        case "regression":
            return _write_value_bundle(directory)
        case "token_classification":
            return _write_tags_bundle(directory)
        case "multi_label_classification":
            manifest = _without_labels(tiny_manifest(task=task))
            return write_bundle(directory, manifest, tiny_files())
        case "text_classification":
            return write_tiny_bundle(directory)


def write_tiny_bundles(root: Path) -> dict[str, Path]:
    """Write one bundle for each task, and one of pairs, by name."""
    directories = {name: root / name for name in (*_TASKS, "pairs")}
    for task in _TASKS:
        write_tiny_task_bundle(directories[task], task)
    write_tiny_pair_bundle(directories["pairs"])
    return directories


_TASKS: tuple[TaskName, ...] = (
    "text_classification",
    "multi_label_classification",
    "regression",
    "token_classification",
    "question_answering",
)


def _write_value_bundle(directory: Path) -> Bundle:
    # The value is the sum of the weights.
    model = tiny_model()
    _set(model, "signs", [[1.0]])
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])
    )
    selftest = tiny_selftest(logits=(tiny_selftest().cases[0].logits[1],))
    files = tiny_files(
        selftest__json=selftest.to_json(),
        model__fp32__onnx=model.SerializeToString(),
    )
    manifest = tiny_manifest(
        task="regression",
        labels=("value",),
        value=ValueDefinition(scale=1.0, tolerance=0.1),
    )
    return write_bundle(directory, _without_labels(manifest), files)


def _write_tags_bundle(directory: Path) -> Bundle:
    # A token of weight w has the logits [-w, w].
    model = tiny_model()
    graph = model.graph
    nodes = [node for node in graph.node if not {"logits", "sum"} & set(node.output)]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.append(
        numpy_helper.from_array(np.array([2], dtype=np.int64), "axis_2")
    )
    graph.node.extend(
        [
            helper.make_node("Unsqueeze", ["scaled_weight", "axis_2"], ["of_token"]),
            helper.make_node("Mul", ["of_token", "signs"], ["logits"]),
        ]
    )
    graph.output[0].CopyFrom(
        helper.make_tensor_value_info(
            "logits", TensorProto.FLOAT, ["batch", "tokens", 2]
        )
    )
    weights = [WEIGHT_BY_TOKEN[token] for token in _SELFTEST_TOKENS]
    logits = tuple(value for weight in weights for value in (-weight, weight))
    files = tiny_files(
        selftest__json=tiny_selftest(logits=logits).to_json(),
        model__fp32__onnx=model.SerializeToString(),
    )
    manifest = tiny_manifest(task="token_classification")
    return write_bundle(directory, _without_labels(manifest), files)


def _set(model: onnx.ModelProto, name: str, values: list[list[float]]) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            array = np.array(values, dtype=np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, name))
            return
    raise AssertionError(name)


def _without_labels(manifest: Manifest) -> Manifest:
    # Where a text has no single label, all texts are one group.
    reference = {
        kind: replace(
            each,
            num_texts=(2,),
            mean_gate=each.mean_gate[:1],
            kept_share=each.kept_share[:1],
        )
        for kind, each in manifest.reference.items()
    }
    return replace(manifest, reference=reference)
