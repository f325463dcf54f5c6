from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper
from transformers import AutoModelForSequenceClassification

from diffmask_training.errors import ExportError
from diffmask_training.export.fusion import (
    check_fusion,
    count_fused_attentions,
    part_skips,
)


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


@pytest.mark.parametrize("biases", [(), ("norm_bias",), ("norm_bias", "bias")])
@pytest.mark.parametrize("is_sum_read", [True, False])
@pytest.mark.parametrize("epsilon", [0.1, None])
def test_a_norm_joined_with_the_sums_before_it_is_parted(
    biases: tuple[str, ...], is_sum_read: bool, epsilon: float | None
) -> None:
    size = 4
    model = _joined_norm(size, biases, is_sum_read=is_sum_read, epsilon=epsilon)
    generator = np.random.default_rng(0)
    feeds = {
        name: generator.normal(size=(2, 3, size)).astype(np.float32)
        for name in ("values", "skipped")
    }
    before = _outputs(model, feeds)
    part_skips(model)
    sums = ["Add"] * (2 if "bias" in biases else 1)
    assert [n.op_type for n in model.graph.node] == [*sums, "LayerNormalization"]
    after = _outputs(model, feeds)
    assert len(after) == 1 + is_sum_read
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_plain_load_joins_a_norm_again_whose_sum_nothing_else_reads(
    tmp_path: Path,
) -> None:
    for is_sum_read, operators in ((False, 1), (True, 3)):
        model = _joined_norm(
            4, ("norm_bias", "bias"), is_sum_read=is_sum_read, epsilon=0.1
        )
        part_skips(model)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(model.SerializeToString(), options)
        nodes = onnx.load(options.optimized_model_filepath).graph.node
        assert len(nodes) == operators


def _joined_norm(
    size: int, biases: tuple[str, ...], *, is_sum_read: bool, epsilon: float | None
) -> ModelProto:
    generator = np.random.default_rng(1)
    tensors = [
        numpy_helper.from_array(generator.normal(size=size).astype(np.float32), name)
        for name in ("weight", *biases)
    ]
    node = helper.make_node(
        "SkipLayerNormalization",
        ["values", "skipped", *[tensor.name for tensor in tensors]],
        ["normed", "", "", "total"] if is_sum_read else ["normed"],
        domain="com.microsoft",
    )
    if epsilon is not None:
        node.attribute.append(helper.make_attribute("epsilon", epsilon))
    outputs = ["normed", "total"][: 1 + is_sum_read]
    graph = helper.make_graph(
        [node],
        "test",
        [_value("values", size), _value("skipped", size)],
        [_value(name, size) for name in outputs],
        tensors,
    )
    return helper.make_model(
        graph,
        opset_imports=[
            helper.make_opsetid("", 20),
            helper.make_opsetid("com.microsoft", 1),
        ],
        ir_version=10,
    )


def _value(name: str, size: int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", "t", size])


def _outputs(model: ModelProto, feeds: dict[str, Any]) -> list[Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    outputs: list[Any] = session.run(None, feeds)
    return outputs
