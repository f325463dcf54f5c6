"""From the fused module to the bytes of an ONNX graph, attention fused and counted."""

import logging
import warnings
from collections import Counter

import torch
from onnx import ModelProto
from onnxscript.rewriter.ort_fusions import optimize_for_ort

from diffmask_training.errors import ExportError
from diffmask_training.export.graph import FusedModule
from diffmask_training.families import expected_attentions

OPSET = 20
OUTPUTS = ("logits", "input_gates", "hidden_gates")
_ATTENTIONS = ("Attention", "MultiHeadAttention")


def export_graph(module: FusedModule, *, vocabulary_size: int) -> ModelProto:
    """Export a fused module with dynamic batch and tokens, and fuse its attention.

    `torch.export` keeps hidden states as plain values, and onnxscript's fusions, unlike
    ONNX Runtime's own, still match when probes read them.

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
            output_names=list(OUTPUTS),
            dynamic_shapes=(dict.fromkeys(inputs, axes), axes),
            verbose=False,
        )
        if program is None:
            raise AssertionError("without a file name the exporter returns the program")
        optimize_for_ort(program.model)
    model: ModelProto = program.model_proto
    _check_fusion(model, module)
    return model


def _check_fusion(model: ModelProto, module: FusedModule) -> None:
    classifier = module.encoder.model
    fused, expected = count_fused_attentions(model), expected_attentions(classifier)
    if fused < expected:
        raise ExportError(
            f"{fused} attentions of the graph are fused, {expected} should be for a"
            f" {classifier.config.model_type} model; use the versions of torch,"
            " transformers and onnxscript that the training extra names"
        )


def count_fused_attentions(model: ModelProto) -> int:
    """Return how many attention operators of ONNX Runtime a graph holds."""
    counts = Counter(node.op_type for node in model.graph.node)
    return sum(counts[name] for name in _ATTENTIONS)
