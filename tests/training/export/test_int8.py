"""8-bit products and 16-bit numbers, on graphs whose values are known."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from diffmask_training.batches import Encoding
from diffmask_training.export.half import halve
from diffmask_training.export.int8 import quantise_products, smoothing_of
from diffmask_training.export.smoothing import find_multipliers

WIDTH = 1024
# Two channels are a hundred times as large as the rest.
LARGE = (3, 800)


def _table() -> NDArray[np.float32]:
    table = np.random.default_rng(0).normal(size=(50, WIDTH)).astype(np.float32)
    table[:, LARGE] *= 100
    return table


def _weight() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(WIDTH, WIDTH)).astype(np.float32)


def _model() -> ModelProto:
    def value(name: str, kind: int, *shape: str | int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
            helper.make_node("MatMul", ["rows", "weight"], ["logits"]),
            helper.make_node("MatMul", ["rows", "small"], ["input_gates"]),
        ],
        "test",
        [value("input_ids", TensorProto.INT64, "batch", "tokens")],
        [
            value("logits", TensorProto.FLOAT, "batch", "tokens", WIDTH),
            value("input_gates", TensorProto.FLOAT, "batch", "tokens", 4),
        ],
        [
            numpy_helper.from_array(_table(), "table"),
            numpy_helper.from_array(_weight(), "weight"),
            numpy_helper.from_array(_weight()[:, :4].copy(), "small"),
        ],
    )
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=imports)
    model.ir_version = 10
    return model


def _replace(model: ModelProto, **tensors: NDArray[np.float32]) -> None:
    for tensor in model.graph.initializer:
        if tensor.name in tensors:
            value = tensors[tensor.name]
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def _run(model: ModelProto, ids: list[int]) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    outputs: list[NDArray[np.float32]] = session.run(
        ["logits", "input_gates"], {"input_ids": np.array([ids])}
    )
    return outputs


def _text(*ids: int) -> Encoding:
    return Encoding(input_ids=ids, token_type_ids=(0,) * len(ids))


IDS = [0, 7, 49, 7]
TEXTS = [_text(1, 2, 3), _text(4, 5, 6, 8, 9)]


def test_large_products_take_8_bits_and_small_ones_stay() -> None:
    reduced = quantise_products(_model(), {})
    operators = [node.op_type for node in reduced.graph.node]
    tensors = {t.name: t.data_type for t in reduced.graph.initializer}
    assert operators == ["Gather", "DynamicQuantizeMatMul", "MatMul"]
    assert tensors["logits_codes"] == TensorProto.INT8
    assert "weight" not in tensors
    assert (_run(reduced, IDS)[1] == _run(_model(), IDS)[1]).all()


def test_a_product_is_that_of_the_rounded_values_and_weights() -> None:
    values, weight = _table()[IDS].astype(np.float64), _weight().astype(np.float64)
    low, high = values.min(), values.max()
    step = (high - low) / 255
    zero = np.rint(-low / step)
    codes = np.clip(np.rint(values / step) + zero, 0, 255)
    scale = np.abs(weight).max(axis=0) / 127
    expected = (codes - zero) * step @ (np.rint(weight / scale) * scale)
    found = _run(quantise_products(_model(), {}), IDS)[0][0]
    # A value may lie so near the middle of two levels that float32 takes the other.
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_smoothing_keeps_the_small_channels_of_a_product_with_large_ones() -> None:
    # From 1 to 1,000 times as large as the smallest: leaving a few out helps little.
    model = _model()
    sizes = np.geomspace(1, 1000, WIDTH).astype(np.float32)
    table = np.random.default_rng(0).normal(size=(50, WIDTH)).astype(np.float32)
    weight = (_weight() / sizes[:, np.newaxis]).astype(np.float32)
    _replace(model, table=table * sizes, weight=weight)
    exact = _run(model, IDS)[0]
    multipliers = find_multipliers(model, TEXTS)
    errors = [
        np.square(_run(quantise_products(model, each), IDS)[0] - exact).mean()
        for each in ({}, multipliers)
    ]
    assert set(multipliers) == {"logits"}
    assert multipliers["logits"][-1] < multipliers["logits"][0] / 100
    assert errors[1] < errors[0] / 100


def test_channels_of_multiplier_0_stay_float32() -> None:
    multiplier = np.ones(WIDTH, dtype=np.float32)
    multiplier[list(LARGE)] = 0
    reduced = quantise_products(_model(), {"logits": multiplier})
    operators = [node.op_type for node in reduced.graph.node]
    assert operators[1:5] == ["Mul", "DynamicQuantizeMatMul", "Gather", "MatMul"]
    values, weight = _table()[IDS], _weight()
    exact = values[:, LARGE] @ weight[list(LARGE)]
    values[:, LARGE], weight[list(LARGE)] = 0, 0
    model = _model()
    _replace(model, table=_table() * (multiplier > 0), weight=weight)
    # The rest is rounded as if those channels were not there.
    expected = _run(quantise_products(model, {}), IDS)[0][0] + exact
    found = _run(reduced, IDS)[0][0]
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_what_multipliers_cannot_tame_is_left_out_of_the_product() -> None:
    # As large in the weights as in the values: no multiplier takes both down.
    model = _model()
    weight = _weight()
    weight[list(LARGE)] *= 100
    _replace(model, weight=weight)
    multipliers = find_multipliers(model, TEXTS)["logits"]
    assert 0 < np.count_nonzero(multipliers == 0) < WIDTH / 16
    assert (multipliers[list(LARGE)] == 0).all()
    exact = _run(model, IDS)[0]
    found = _run(quantise_products(model, {"logits": multipliers}), IDS)[0]
    plain = _run(quantise_products(model, {}), IDS)[0]
    assert np.square(found - exact).mean() < np.square(plain - exact).mean() / 100


def test_what_smoothing_cannot_help_is_left_alone() -> None:
    model = _model()
    even = np.random.default_rng(2).uniform(-1, 1, (50, WIDTH)).astype(np.float32)
    _replace(model, table=even)
    assert find_multipliers(model, TEXTS) == {}


def test_the_multipliers_are_found_in_the_graph_again() -> None:
    multipliers = find_multipliers(_model(), TEXTS)
    reduced = quantise_products(_model(), multipliers)
    found = smoothing_of(reduced)
    assert found.keys() == multipliers.keys()
    assert (found["logits"] == multipliers["logits"]).all()
    again = quantise_products(_model(), found)
    assert again.SerializeToString() == reduced.SerializeToString()


def test_the_float32_graph_is_left_alone() -> None:
    model = _model()
    before = model.SerializeToString(deterministic=True)
    quantise_products(model, find_multipliers(model, TEXTS))
    assert model.SerializeToString(deterministic=True) == before


def _attention_model(**attributes: Any) -> ModelProto:
    value = helper.make_tensor_value_info
    sides = [f"weight_{side}" for side in ("query", "key", "value")]
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
            helper.make_node("Concat", sides, ["joined"], axis=1),
            helper.make_node(
                "Attention",
                ["rows", "joined", "bias"],
                ["logits"],
                domain="com.microsoft",
                num_heads=4,
                **attributes,
            ),
        ],
        "test",
        [value("input_ids", TensorProto.INT64, ["batch", "tokens"])],
        [value("logits", TensorProto.FLOAT, ["batch", "tokens", WIDTH])],
        [
            numpy_helper.from_array(_table() / 100, "table"),
            *(
                numpy_helper.from_array(_weight() * scale / 20, side)
                for scale, side in zip((1, 2, 3), sides, strict=True)
            ),
            numpy_helper.from_array(
                np.linspace(-1, 1, 3 * WIDTH, dtype=np.float32), "bias"
            ),
        ],
    )
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=imports)
    model.ir_version = 10
    return model


def _attend(model: ModelProto) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found: NDArray[np.float32] = session.run(["logits"], {"input_ids": [IDS]})[0]
    return found


@pytest.mark.parametrize("attributes", [{}, {"qkv_hidden_sizes": [WIDTH] * 3}])
def test_the_product_inside_an_attention_takes_8_bits(
    attributes: dict[str, Any],
) -> None:
    model = _attention_model(**attributes)
    reduced = quantise_products(model, find_multipliers(model, TEXTS))
    operators = {node.op_type for node in reduced.graph.node}
    assert "DynamicQuantizeMatMul" in operators
    assert "MultiHeadAttention" in operators
    exact, found = _attend(model), _attend(reduced)
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


def test_an_attention_that_nothing_else_can_express_stays() -> None:
    reduced = quantise_products(_attention_model(unidirectional=1), {})
    assert [node.op_type for node in reduced.graph.node] == ["Gather", "Attention"]


def test_16_bit_numbers_keep_three_digits_and_the_types_of_the_outputs() -> None:
    exact, found = _run(_model(), IDS), _run(halve(_model()), IDS)
    halved = {t.data_type for t in halve(_model()).graph.initializer}
    assert halved == {TensorProto.FLOAT16}
    for left, right in zip(exact, found, strict=True):
        assert right.dtype == np.float32
        assert 0 < np.abs(left - right).max() < 2e-3 * np.abs(left).max()
