"""Fusion of a graph's attention into ONNX Runtime's own operators, and its count.

`torch.export` keeps hidden states as plain values, and onnxscript's fusions, unlike
ONNX Runtime's own, still match when probes read them.
"""

from collections import Counter
from typing import Any

from onnx import ModelProto
from onnxscript.rewriter import pattern, rewrite
from onnxscript.rewriter.ort_fusions import optimize_for_ort
from transformers import PreTrainedModel

from diffmask_training.errors import ExportError
from diffmask_training.families import expected_attentions

_ATTENTIONS = ("Attention", "MultiHeadAttention")


def fuse(model: Any) -> None:
    """Rewrite an exported graph, in onnxscript's form, in place."""
    rewrite(model, pattern_rewrite_rules=[_one_bias_rule])
    optimize_for_ort(model)


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


def _two_biases(op: Any, scores: Any, bias: Any, mask: Any) -> Any:
    return op.Softmax(op.Add(op.Add(scores, bias), mask), axis=-1)


def _one_bias(op: Any, scores: Any, bias: Any, mask: Any) -> Any:
    return op.Softmax(op.Add(scores, op.Add(bias, mask)), axis=-1)


# The fused operators take one term that is added to the scores; MPNet adds two, the
# bias of relative positions and the mask. Their sum is the same for every block.
_one_bias_rule = pattern.RewriteRule(_two_biases, _one_bias)
