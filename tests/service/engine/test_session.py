import sys

import numpy as np
import onnx
import pytest

from diffmask_service.engine.feeds import Row
from diffmask_service.engine.session import Session
from diffmask_service.errors import GraphError, InferenceError, StartError
from tests.support.tiny import (
    INPUTS,
    TOKENS,
    tiny_hidden_gates,
    tiny_input_gates,
    tiny_logits,
    tiny_model,
)

ALL = ("logits", "input_gates", "hidden_gates")


def row(*tokens: str, keep: list[float] | None = None) -> Row:
    return Row(
        input_ids=np.array([TOKENS.index(token) for token in tokens]),
        token_type_ids=np.zeros(len(tokens), dtype=np.int64),
        keep=None if keep is None else np.array(keep, dtype=np.float32),
    )


def open_session(
    model: onnx.ModelProto | None = None, inputs: tuple[str, ...] = INPUTS
) -> Session:
    content = (model or tiny_model()).SerializeToString()
    return Session(content, inputs=inputs, name="model.onnx")


def test_each_text_of_a_run_gets_its_own_outputs() -> None:
    outputs = open_session().run([row("good", "movie"), row("bad", "a")], fetches=ALL)
    assert outputs.input_gates is not None
    assert outputs.hidden_gates is not None
    for place, tokens in enumerate((("good", "movie"), ("bad", "a"))):
        assert (outputs.logits[place] == tiny_logits(tokens)).all()
        assert (outputs.input_gates[place] == tiny_input_gates(tokens)).all()
        assert (outputs.hidden_gates[place] == tiny_hidden_gates(tokens)).all()


def test_a_masked_text_may_share_a_run_with_an_unmasked_one() -> None:
    rows = [row("good", "fun", keep=[0.0, 1.0]), row("good", "fun")]
    outputs = open_session().run(rows, fetches=("logits",))
    assert outputs.logits.tolist() == [[-1.0, 1.0], [-3.0, 3.0]]


def test_only_what_is_asked_comes_back() -> None:
    outputs = open_session().run([row("good")], fetches=("logits",))
    assert outputs.input_gates is None
    assert outputs.hidden_gates is None


def test_a_model_without_segments_is_not_fed_any() -> None:
    inputs = ("input_ids", "attention_mask", "keep")
    session = open_session(tiny_model(inputs), inputs)
    outputs = session.run([row("good")], fetches=("logits",))
    assert outputs.logits.tolist() == [[-2.0, 2.0]]


def test_a_graph_that_does_not_load_is_refused() -> None:
    model = tiny_model()
    model.graph.node[0].op_type = "Gathre"
    with pytest.raises(GraphError, match=r"model\.onnx: ONNX Runtime .* cannot load"):
        open_session(model)


def test_a_failing_run_is_our_fault() -> None:
    beyond = Row(input_ids=np.array([10_000]), token_type_ids=np.array([0]))
    with pytest.raises(InferenceError, match="failed to run"):
        open_session().run([beyond], fetches=ALL)


def test_values_that_are_not_finite_are_never_an_answer() -> None:
    with pytest.raises(InferenceError, match="logits that are not finite"):
        open_session().run([row("good", keep=[float("nan")])], fetches=ALL)


def test_a_missing_runtime_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(StartError, match=r"install diffmask-service\[cpu\]"):
        open_session()


def test_logits_are_the_same_with_and_without_gates() -> None:
    session = open_session()
    rows = [row("good", "movie"), row("bad", "fun", keep=[1.0, 0.0])]
    alone = session.run(rows, fetches=("logits",)).logits
    assert (alone == session.run(rows, fetches=ALL).logits).all()


TEXTS = (("good", "movie", "a"), ("bad",), ("fun", "##ny"))


def test_a_padded_text_gets_the_outputs_that_it_gets_alone() -> None:
    session = open_session()
    together = session.run([row(*tokens) for tokens in TEXTS], fetches=ALL)
    assert together.input_gates is not None
    assert together.input_gates.shape == (3, 3, 3)
    for place, tokens in enumerate(TEXTS):
        gates = together.input_gates[place, :, : len(tokens)]
        assert (together.logits[place] == tiny_logits(tokens)).all()
        assert (gates == tiny_input_gates(tokens)).all()
