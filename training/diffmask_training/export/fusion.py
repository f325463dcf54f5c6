"""Fusion of a graph's attention into ONNX Runtime's own operators, and its count.

`torch.export` keeps hidden states as plain values, and onnxscript's fusions, unlike
ONNX Runtime's own, still match when probes read them.
"""

from collections import Counter
from typing import Any

from onnx import ModelProto, NodeProto, helper
from onnxscript.rewriter import pattern, rewrite
from onnxscript.rewriter.ort_fusions import optimize_for_ort
from transformers import PreTrainedModel

from diffmask_training.errors import ExportError
from diffmask_training.families import expected_attentions

_ATTENTIONS = ("Attention", "MultiHeadAttention")
# Of a `SkipLayerNormalization` that names none.
_EPSILON = 1e-12


def fuse(model: Any) -> None:
    """Rewrite an exported graph, in onnxscript's form, in place."""
    rewrite(model, pattern_rewrite_rules=[_one_bias_rule])
    optimize_for_ort(model)


def part_skips(model: ModelProto) -> None:
    """Part sums from the norms that follow them, in place.

    ONNX Runtime's operator for both, `SkipLayerNormalization`, is slower than the two
    on a CPU, as `benchmarks/norms.py` shows. Where only the norm reads the sum, ONNX
    Runtime joins them again when it loads a graph, unless it is told not to; on a GPU
    that has not been tried.

    Args:
        model: The graph, optimised for ONNX Runtime.
    """
    nodes = [
        parted
        for node in model.graph.node
        for parted in (
            _parted(node) if node.op_type == "SkipLayerNormalization" else [node]
        )
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def count_fused_attentions(model: ModelProto) -> int:
    """Return how many attention operators of ONNX Runtime a graph holds."""
    counts = Counter(node.op_type for node in model.graph.node)
    return sum(counts[name] for name in _ATTENTIONS)


def check_fusion(model: ModelProto, classifier: PreTrainedModel) -> None:
    """Check that a graph's attention is fused as that of its family is.

    Raises:
        ExportError: Fewer attentions are fused than expected.
    """
    fused, expected = count_fused_attentions(model), expected_attentions(classifier)
    if fused < expected:
        raise ExportError(
            f"{fused} attentions of the graph are fused, {expected} should be for a"
            f" {classifier.config.model_type} model; use the versions of torch,"
            " transformers and onnxscript that the training extra names"
        )


def _parted(node: NodeProto) -> list[NodeProto]:
    # Without a bias of the norm, without one of the values; the fourth output is the
    # sum, the two before it are for training.
    values, skipped, weight, norm_bias, bias = [*node.input, "", ""][:5]
    output = node.output[0]
    total = [*node.output, "", "", ""][3] or f"{output}_sum"
    nodes = []
    if bias:
        nodes.append(_sum(values, bias, f"{output}_biased"))
        values = f"{output}_biased"
    nodes.append(_sum(values, skipped, total))
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), _EPSILON)
    norm = helper.make_node(
        "LayerNormalization",
        [total, weight, norm_bias] if norm_bias else [total, weight],
        [output],
        name=node.name,
        epsilon=epsilon,
    )
    return [*nodes, norm]


def _sum(left: str, right: str, result: str) -> NodeProto:
    return helper.make_node("Add", [left, right], [result], name=f"{result}_add")


def _two_biases(op: Any, scores: Any, bias: Any, mask: Any) -> Any:
    return op.Softmax(op.Add(op.Add(scores, bias), mask), axis=-1)


def _one_bias(op: Any, scores: Any, bias: Any, mask: Any) -> Any:
    return op.Softmax(op.Add(scores, op.Add(bias, mask)), axis=-1)


# The fused operators take one term that is added to the scores; MPNet adds two, the
# bias of relative positions and the mask. Their sum is the same for every block.
_one_bias_rule = pattern.RewriteRule(_two_biases, _one_bias)
