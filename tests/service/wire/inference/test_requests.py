"""Whatever comes over the wire is a request or an error that names what is wrong."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffmask_service.core.values import ExplainOptions, GateKind, Granularity
from diffmask_service.errors import InvalidInput
from diffmask_service.wire.inference import messages as pb
from diffmask_service.wire.inference import read_request
from tests.support.inference import infer_request, set_parameter
from tests.support.stub_server import DESCRIPTION

NAMES = st.sampled_from(
    ["text", "input_ids", "attention_mask", "token_type_ids", "text_pair", "", "x"]
)
SHAPES = st.lists(st.integers(-2, 2**62), max_size=3) | st.lists(
    st.integers(0, 3), max_size=2
)
CONTENTS = st.builds(
    pb.InferTensorContents,
    bytes_contents=st.lists(st.binary(max_size=4), max_size=3),
    int64_contents=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
)
VALUES = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=9)
PARAMETERS = st.dictionaries(
    st.sampled_from(
        ["top_k", "states", "verify", "timeout", "priority", "x", "headers"]
    ),
    VALUES,
    max_size=2,
)


@st.composite
def requests(draw: st.DrawFn) -> pb.ModelInferRequest:
    """Draw requests that are wrong in few places."""
    request = pb.ModelInferRequest()
    for name in draw(st.lists(NAMES, max_size=3)):
        datatype = "BYTES" if name.startswith("text") else "INT64"
        tensor = request.inputs.add(
            name=name,
            datatype=draw(st.sampled_from([datatype, "FP32"])),
            shape=draw(SHAPES),
        )
        if draw(st.booleans()):
            tensor.contents.CopyFrom(draw(CONTENTS))
        if draw(st.booleans()):
            request.raw_input_contents.append(draw(st.binary(max_size=24)))
    for name in draw(st.lists(st.sampled_from(["label", "scores", "x"]), max_size=2)):
        output = request.outputs.add(name=name)
        for key, value in draw(
            st.dictionaries(st.just("classification"), VALUES, max_size=1)
        ).items():
            set_parameter(output.parameters[key], value)
    for key, value in draw(PARAMETERS).items():
        set_parameter(request.parameters[key], value)
    return request


@given(requests())
def test_a_request_is_read_or_refused(request: pb.ModelInferRequest) -> None:
    try:
        call = read_request(request, DESCRIPTION, max_texts=4)
    except InvalidInput:
        return
    assert 1 <= len(call.inputs) <= 4


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8), st.booleans())
def test_texts_survive_both_representations(texts: list[str], is_raw: bool) -> None:
    request = infer_request(texts, is_raw=is_raw)
    call = read_request(request, DESCRIPTION, max_texts=8)
    assert [getattr(each, "text", None) for each in call.inputs] == texts
    assert call.is_raw is is_raw


def read(**keywords: Any) -> ExplainOptions:
    return read_request(infer_request(**keywords), DESCRIPTION, max_texts=1).options


@pytest.mark.parametrize(
    ("outputs", "gates"),
    [
        (["label", "tokens", "offsets"], set()),
        (["scores"], {GateKind.INPUT}),
        (["hidden_gates"], {GateKind.HIDDEN}),
        ([], set(GateKind)),
    ],
)
def test_gates_are_computed_for_the_outputs_that_need_them(
    outputs: list[str], gates: set[GateKind]
) -> None:
    assert read(outputs=outputs).gates == gates


def test_options_are_those_of_our_own_protocol() -> None:
    assert read(
        outputs=["input_gates"],
        states="block_1, embeddings",
        granularity="words",
        top_k=3,
        truncate=True,
        verify=True,
        verify_states="block_2",
    ) == ExplainOptions(
        gates=frozenset({GateKind.INPUT}),
        states=("block_1", "embeddings"),
        granularity=Granularity.WORDS,
        top_k=3,
        truncate=True,
        verify=True,
        verify_states=("block_2",),
    )


@pytest.mark.parametrize(
    ("microseconds", "seconds"), [(0, None), (1, 1e-6), (2_500_000, 2.5)]
)
def test_a_timeout_is_in_microseconds(microseconds: int, seconds: float | None) -> None:
    request = infer_request(timeout=microseconds)
    call = read_request(request, DESCRIPTION, max_texts=1)
    assert call.timeout_seconds == seconds


def test_too_many_texts_are_refused_before_they_are_read() -> None:
    request = infer_request()
    request.inputs[0].CopyFrom(
        pb.ModelInferRequest.InferInputTensor(
            name="text", datatype="BYTES", shape=[2**40]
        )
    )
    with pytest.raises(InvalidInput, match="holds 1099511627776 texts; send at most 9"):
        read_request(request, DESCRIPTION, max_texts=9)
