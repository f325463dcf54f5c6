"""From a bundle to a model repository that Triton Inference Server loads.

One folder of the repository, laid out as Triton's documents on model repositories and
model configuration ask: the configuration, the graph under its version, the labels; and
beside them the tokenizer for callers, since Triton's backend for ONNX takes token
indices and no text. Names, types and dimensions are read off the graph itself.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from onnx import ModelProto, TensorProto, ValueInfoProto

from diffmask_service.bundle import Bundle, Manifest, check_graph
from diffmask_training.errors import ExportError
from diffmask_training.export.triton_guide import write_guide
from diffmask_training.whole_files import replace_folder

CONFIGURATION = "config.pbtxt"
# What Triton takes for the graph's file, and a name for the labels'.
GRAPH = "model.onnx"
LABELS = "labels.txt"
# Triton joins requests of one length; texts of several would have to be padded, which
# it leaves to callers.
_MAX_BATCH = 32
_TYPE_NAMES: Mapping[int, str] = {
    TensorProto.INT64: "TYPE_INT64",
    TensorProto.FLOAT: "TYPE_FP32",
}


def write_triton_model(repository: Path, bundle: Bundle) -> Path:
    """Write a bundle's default graph as a model of a repository, whole or not at all.

    Args:
        repository: The repository; made where it is missing. Other models in it stay.
        bundle: What to write.

    Returns:
        The model's folder.

    Raises:
        ExportError: Something else stands in its place, or it cannot be written.
    """
    manifest = bundle.manifest
    directory = repository / manifest.id
    check_place(directory, version=manifest.version)
    graph = manifest.graphs[manifest.default_graph].file
    model = check_graph(bundle.files[graph], manifest, graph)
    files = {
        CONFIGURATION: write_configuration(model, bundle).encode(),
        f"{manifest.version}/{GRAPH}": bundle.files[graph],
        "tokenizer.json": bundle.files["tokenizer.json"],
        "README.md": write_guide(bundle, model).encode(),
    }
    if _names_labels(manifest):
        files[LABELS] = "".join(f"{label}\n" for label in manifest.labels).encode()
    try:
        replace_folder(directory, files)
    except OSError as error:
        raise ExportError(
            f"{directory}: cannot be written ({error.strerror}); make room, or name"
            " another directory with --triton"
        ) from error
    return directory


def check_place(directory: Path, *, version: str) -> None:
    """Refuse to write a model where something else stands.

    Args:
        directory: The model's folder.
        version: Its version.

    Raises:
        ExportError: There is something else, or another version, which would be lost.
    """
    if not directory.exists():
        return
    if not (directory / CONFIGURATION).is_file():
        raise ExportError(
            f"{directory}: exists and is no model of Triton's; name another directory"
            " with --triton"
        )
    others = sorted(
        path.name
        for path in directory.iterdir()
        if path.is_dir() and path.name != version
    )
    if others:
        raise ExportError(
            f"{directory}: holds {others[0]!r} beside version {version}; move it away,"
            " or name another directory with --triton"
        )


def write_configuration(model: ModelProto, bundle: Bundle) -> str:
    """Return the configuration as the text form of Triton's `ModelConfig`.

    Args:
        model: The graph.
        bundle: Where it comes from.
    """
    manifest = bundle.manifest
    is_joined = manifest.default_graph != "int8"
    blocks = [
        f"name: {_quoted(manifest.id)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {_MAX_BATCH if is_joined else 1}",
        *(_tensor("input", value) for value in model.graph.input),
        *(
            _tensor("output", value, labels=_is_labelled(value, manifest))
            for value in model.graph.output
        ),
    ]
    if is_joined:
        blocks.append("dynamic_batching { }")
    else:
        # Activations are scaled by the largest value of a run, so that texts that share
        # one would change each other's answers.
        blocks.append("# No dynamic batching: 8-bit products want each text alone.")
    parameters = {
        "diffmask_digest": bundle.digest,
        "diffmask_states": json.dumps(manifest.states),
        "diffmask_threshold": str(manifest.gates.hard_mask_threshold),
    }
    blocks += [
        f"parameters {{ key: {_quoted(key)}"
        f" value {{ string_value: {_quoted(value)} }} }}"
        for key, value in parameters.items()
    ]
    return "\n".join(blocks) + "\n"


def _tensor(field: str, value: ValueInfoProto, *, labels: bool = False) -> str:
    tensor = value.type.tensor_type
    # The first dimension is the batch, which `max_batch_size` stands for.
    dims = [
        dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim
    ][1:]
    lines = [
        f"{field} {{",
        f"  name: {_quoted(value.name)}",
        f"  data_type: {_TYPE_NAMES[tensor.elem_type]}",
        f"  dims: {dims}",
        *([f"  label_filename: {_quoted(LABELS)}"] if labels else []),
        "}",
    ]
    return "\n".join(lines)


def _names_labels(manifest: Manifest) -> bool:
    # Triton's classification extension names the largest values of an output.
    is_one_of_them = manifest.task in {
        "text_classification",
        "multi_label_classification",
    }
    return is_one_of_them and not any("\n" in label for label in manifest.labels)


def _is_labelled(value: ValueInfoProto, manifest: Manifest) -> bool:
    return value.name == "logits" and _names_labels(manifest)


def _quoted(text: str) -> str:
    # What JSON escapes, the text form of protobuf reads.
    return json.dumps(text, ensure_ascii=False)
