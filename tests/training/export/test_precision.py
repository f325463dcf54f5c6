import dataclasses
import math

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from diffmask_service.bundle import GraphFidelity
from diffmask_training.errors import FidelityError
from diffmask_training.export.precision import store_weights_in_8_bits
from diffmask_training.export.verify import check_fidelity

ROWS, COLUMNS = 300, 300


def _model() -> ModelProto:
    generator = np.random.default_rng(0)
    table = generator.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    table *= generator.uniform(0.01, 10, size=(ROWS, 1)).astype(np.float32)
    weight = generator.normal(size=(COLUMNS, COLUMNS)).astype(np.float32)
    probe = generator.normal(size=(COLUMNS, COLUMNS)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "ids"], ["rows"]),
            helper.make_node("MatMul", ["rows", "weight"], ["logits"]),
            helper.make_node("MatMul", ["rows", "probe"], ["input_gates"]),
        ],
        "test",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", COLUMNS]),
            helper.make_tensor_value_info(
                "input_gates", TensorProto.FLOAT, ["n", COLUMNS]
            ),
        ],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(probe, "probe"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return model


def _weights(model: ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def test_classifier_is_stored_in_8_bits_and_probes_are_not() -> None:
    reduced = store_weights_in_8_bits(_model())
    weights = _weights(reduced)
    assert weights["table_codes"].dtype == weights["weight_codes"].dtype == np.int8
    assert weights["probe"].dtype == np.float32
    assert set(weights) == {
        "table_codes",
        "table_scale",
        "weight_codes",
        "weight_scale",
        "probe",
    }
    onnx.checker.check_model(reduced)


@pytest.mark.parametrize(("name", "axis"), [("table", 1), ("weight", 0)])
def test_rounding_is_within_half_a_step_of_its_channel(name: str, axis: int) -> None:
    model = _model()
    original = _weights(model)[name]
    reduced = _weights(store_weights_in_8_bits(model))
    restored = reduced[f"{name}_codes"] * reduced[f"{name}_scale"]
    step = np.abs(original).max(axis=axis, keepdims=True) / 127
    assert bool((np.abs(restored - original) <= step * 0.5001).all())


def test_reduced_graph_runs_with_the_restored_weights() -> None:
    model = _model()
    reduced = store_weights_in_8_bits(model)
    weights = _weights(reduced)
    table = weights["table_codes"] * weights["table_scale"]
    weight = weights["weight_codes"] * weights["weight_scale"]
    ids = np.array([0, 7, 299])
    session = onnxruntime.InferenceSession(
        reduced.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    logits = session.run(["logits"], {"ids": ids})[0]
    expected = table[ids].astype(np.float64) @ weight.astype(np.float64)
    assert np.allclose(logits, expected, rtol=1e-4, atol=1e-3)


def test_original_graph_is_left_alone() -> None:
    model = _model()
    before = model.SerializeToString(deterministic=True)
    store_weights_in_8_bits(model)
    assert model.SerializeToString(deterministic=True) == before


def _fidelity(**changes: float) -> GraphFidelity:
    faithful = GraphFidelity(
        num_texts=1000,
        label_agreement=0.995,
        input_gate_rank_correlation=0.99,
        hidden_gate_rank_correlation=0.99,
        max_gate_difference=1.0,
        max_logit_difference=1.0,
    )
    return dataclasses.replace(faithful, **changes)


def test_a_graph_at_the_bar_passes() -> None:
    check_fidelity("int8", _fidelity())


@pytest.mark.parametrize(
    "changes",
    [
        {"label_agreement": 0.994},
        {"input_gate_rank_correlation": 0.989},
        {"hidden_gate_rank_correlation": 0.989},
        {"hidden_gate_rank_correlation": math.nan},
    ],
)
def test_a_graph_that_strays_is_refused_with_its_figures(
    changes: dict[str, float],
) -> None:
    with pytest.raises(FidelityError, match=r"int8 graph strays.*99\.5% are asked for"):
        check_fidelity("int8", _fidelity(**changes))
