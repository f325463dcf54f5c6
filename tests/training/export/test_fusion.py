from pathlib import Path

import pytest
from onnx import ModelProto, helper
from transformers import AutoModelForSequenceClassification

from diffmask_training.errors import ExportError
from diffmask_training.export.fusion import check_fusion, count_fused_attentions


def _model(*operators: str) -> ModelProto:
    nodes = [helper.make_node(name, ["x"], ["y"]) for name in operators]
    return helper.make_model(helper.make_graph(nodes, "test", [], []))


def test_both_forms_of_fused_attention_count() -> None:
    model = _model("Attention", "MultiHeadAttention", "MatMul")
    assert count_fused_attentions(model) == 2


def test_graph_with_an_attention_left_unfused_is_refused(checkpoint: Path) -> None:
    classifier = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    check_fusion(_model("Attention", "Attention"), classifier)
    with pytest.raises(ExportError, match=r"1 attentions .* 2 should be for a bert"):
        check_fusion(_model("Attention", "MatMul"), classifier)
