"""From the fused module to the bytes of an ONNX graph, attention fused and counted."""

import logging
import warnings
from collections import Counter

import torch
from onnx import ModelProto
from onnxscript.rewriter.ort_fusions import optimize_for_ort

from diffmask_training.export.graph import FusedModule

OPSET = 20
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "keep")
OUTPUTS = ("logits", "input_gates", "hidden_gates")
_ATTENTIONS = ("Attention", "MultiHeadAttention")


def export_graph(module: FusedModule, *, vocabulary_size: int) -> ModelProto:
    """Export a fused module with dynamic batch and tokens, and fuse its attention.

    `torch.export` keeps hidden states as plain values, and onnxscript's fusions, unlike
    ONNX Runtime's own, still match when probes read them.

    Args:
        module: Classifier and probes.
        vocabulary_size: Of the embedding, for the example input.
    """
    # Sizes 0 and 1 would be taken for constants.
    shape = (2, 7)
    generator = torch.Generator().manual_seed(0)
    example = (
        torch.randint(vocabulary_size, shape, generator=generator),
        torch.ones(shape, dtype=torch.long),
        torch.zeros(shape, dtype=torch.long),
        torch.ones(shape),
    )
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("onnxscript", "torch.onnx"):
            logging.getLogger(name).setLevel(logging.ERROR)
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_shapes=tuple({0: batch, 1: tokens} for _ in INPUTS),
            verbose=False,
        )
        if program is None:
            raise AssertionError("without a file name the exporter returns the program")
        optimize_for_ort(program.model)
    model: ModelProto = program.model_proto
    return model


def count_fused_attentions(model: ModelProto) -> int:
    """Return how many attention operators of ONNX Runtime a graph holds."""
    counts = Counter(node.op_type for node in model.graph.node)
    return sum(counts[name] for name in _ATTENTIONS)
