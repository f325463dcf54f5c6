from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from diffmask_service.engine.limits import Device
from diffmask_service.engine.runtime import choose_device, open_graph, run_bound
from diffmask_service.errors import StartError
from tests.support.tiny import TOKENS, tiny_model


def normed_sum() -> bytes:
    """Return a graph of one norm of one sum."""
    size = 8
    norm = helper.make_node("LayerNormalization", ["sum", "weight", "bias"], ["normed"])
    graph = helper.make_graph(
        [helper.make_node("Add", ["left", "right"], ["sum"]), norm],
        "graph",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", "t", size])
            for name in ("left", "right")
        ],
        [helper.make_tensor_value_info("normed", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(values(size), name)
            for name, values in (("weight", ones), ("bias", zeros))
        ],
    )
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return model.SerializeToString()


def ones(size: int) -> NDArray[np.float32]:
    return np.ones(size, dtype=np.float32)


def zeros(size: int) -> NDArray[np.float32]:
    return np.zeros(size, dtype=np.float32)


def test_a_norm_and_the_sum_before_it_stay_apart_on_a_cpu(tmp_path: Path) -> None:
    path = tmp_path / "optimised.onnx"

    def options() -> onnxruntime.SessionOptions:
        made = onnxruntime.SessionOptions()
        made.optimized_model_filepath = str(path)
        made.log_severity_level = 3
        return made

    def operators() -> list[str]:
        return [node.op_type for node in onnx.load(path).graph.node]

    onnxruntime.InferenceSession(normed_sum(), options())
    assert operators() == ["SkipLayerNormalization"]
    runtime = SimpleNamespace(
        SessionOptions=options, InferenceSession=onnxruntime.InferenceSession
    )
    open_graph(runtime, normed_sum(), device="cpu")
    assert operators() == ["Add", "LayerNormalization"]


def test_bound_inputs_and_outputs_give_what_a_plain_run_gives() -> None:
    session = onnxruntime.InferenceSession(
        tiny_model().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    ids = np.arange(6).reshape(2, 3) % len(TOKENS)
    feeds = {
        "input_ids": ids,
        "attention_mask": np.array([[1, 1, 1], [1, 1, 0]]),
        "token_type_ids": np.zeros_like(ids),
        "keep": np.ones(ids.shape, dtype=np.float32),
    }
    names = ["hidden_gates", "logits"]
    bound = run_bound(onnxruntime, session, names, feeds, device="cpu")
    plain = session.run(names, feeds)
    for one, other in zip(bound, plain, strict=True):
        assert (one == other).all()


def test_a_device_that_is_not_taken_after_all_is_refused() -> None:
    session = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    runtime = SimpleNamespace(
        SessionOptions=onnxruntime.SessionOptions,
        InferenceSession=lambda *_given, **_named: session,
    )
    with pytest.raises(StartError, match="could not use cuda and took CPUExecution"):
        open_graph(runtime, b"", device="cuda")


GPU = ("CUDAExecutionProvider", "CPUExecutionProvider")
NO_GPU = ("CPUExecutionProvider",)


@pytest.mark.parametrize(
    ("wanted", "providers", "device"),
    [
        ("auto", GPU, "cuda"),
        ("auto", NO_GPU, "cpu"),
        ("cpu", GPU, "cpu"),
        ("cuda", GPU, "cuda"),
    ],
)
def test_the_device_is_what_was_asked_and_is_there(
    wanted: Device, providers: tuple[str, ...], device: str
) -> None:
    assert choose_device(wanted, providers) == device


def test_a_gpu_that_is_not_there_is_refused_with_the_remedy() -> None:
    with pytest.raises(StartError, match=r"no cuda here.*diffmask-service\[cuda\]"):
        choose_device("cuda", NO_GPU)
