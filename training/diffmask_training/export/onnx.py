"""From the fused module to an ONNX graph whose attention is fused."""

import logging
import warnings

import torch
from google.protobuf.message import Message
from onnx import ModelProto

from diffmask_service.bundle import prediction_outputs
from diffmask_training.export.fusion import check_fusion, fuse, part_skips
from diffmask_training.export.graph import FusedModule

OPSET = 20
_GATES = ("input_gates", "hidden_gates")


def export_graph(module: FusedModule, *, vocabulary_size: int) -> ModelProto:
    """Export a fused module with dynamic batch and tokens, and fuse its attention.

    Args:
        module: Classifier and probes.
        vocabulary_size: Of the embedding, for the example input.

    Raises:
        ExportError: Fewer attentions are fused than the model's family has.
    """
    # Sizes 0 and 1 would be taken for constants.
    shape = (2, 7)
    generator = torch.Generator().manual_seed(0)
    values = {
        "input_ids": torch.randint(vocabulary_size, shape, generator=generator),
        "attention_mask": torch.ones(shape, dtype=torch.long),
        "token_type_ids": torch.zeros(shape, dtype=torch.long),
    }
    inputs = {name: values[name] for name in module.encoder.inputs}
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("onnxscript", "torch.onnx"):
            logging.getLogger(name).setLevel(logging.ERROR)
        program = torch.onnx.export(
            module,
            (inputs, torch.ones(shape)),
            dynamo=True,
            opset_version=OPSET,
            input_names=[*inputs, "keep"],
            output_names=[*prediction_outputs(module.encoder.task.name), *_GATES],
            dynamic_shapes=(dict.fromkeys(inputs, axes), axes),
            verbose=False,
        )
        if program is None:
            raise AssertionError("without a file name the exporter returns the program")
        fuse(program.model)
    model: ModelProto = program.model_proto
    part_skips(model)
    check_fusion(model, module.encoder.model)
    _forget_places(model)
    return model


def _forget_places(model: ModelProto) -> None:
    # The exporter notes for each node where in which file of this machine it came from.
    graph = model.graph
    _forget(model, graph, *graph.node, *graph.value_info)
    for function in model.functions:
        _forget(function, *function.node, *function.value_info)


def _forget(*parts: Message) -> None:
    for part in parts:
        for field in ("doc_string", "metadata_props"):
            if field in part.DESCRIPTOR.fields_by_name:
                part.ClearField(field)
