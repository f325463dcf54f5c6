from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from diffmask_service.core.values import (
    ExplainOptions,
    GateKind,
    ModelDescription,
    Reply,
    TextInput,
    Timings,
)
from diffmask_service.errors import InvalidInput, ServerError
from diffmask_service.wire.converters import (
    ExplainCall,
    StreamRequest,
    model_from_proto,
    model_to_proto,
    reply_from_proto,
    reply_to_proto,
    request_from_proto,
    request_to_proto,
    stream_request_from_proto,
    stream_request_to_proto,
)
from diffmask_service.wire.pb import explain_pb2 as pb
from tests.support.drawn import calls, descriptions, replies
from tests.support.replies import bare_explanation, is_same, reply


@given(calls())
def test_request_survives_the_wire(call: ExplainCall) -> None:
    raw = request_to_proto(call).SerializeToString()
    assert request_from_proto(pb.ExplainRequest.FromString(raw)) == call


@given(replies())
def test_reply_survives_the_wire(value: Reply) -> None:
    raw = reply_to_proto(value).SerializeToString()
    assert is_same(reply_from_proto(pb.ExplainResponse.FromString(raw)), value)


@given(descriptions)
def test_model_survives_the_wire(description: ModelDescription) -> None:
    raw = model_to_proto(description).SerializeToString()
    assert model_from_proto(pb.Model.FromString(raw)) == description


def test_absent_options_mean_the_prediction_alone() -> None:
    call = request_from_proto(pb.ExplainRequest(inputs=[pb.TextInput(text="a")]))
    assert call.options == ExplainOptions(gates=frozenset())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"top_k": 0}, "options.top_k: is 0"),
        ({"gates": [0]}, "options.gates: 0 is not a known value; use GATE_KIND_INPUT"),
        ({"gates": [7]}, "options.gates: 7 is not a known value"),
        ({"granularity": 9}, "options.granularity: 9 is not a known value"),
        ({"states": ["a", "b", "a"]}, "options.states: holds 'a' twice"),
        (
            {"verify": {"states": ["b", "b"]}},
            "options.verify.states: holds 'b' twice",
        ),
    ],
)
def test_request_is_refused_by_the_name_of_its_field(
    fields: dict[str, Any], message: str
) -> None:
    request = pb.ExplainRequest(inputs=[{"text": "a"}], options=fields)
    with pytest.raises(InvalidInput) as caught:
        request_from_proto(request)
    assert str(caught.value).startswith(message)


def test_request_without_inputs_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^inputs: is empty"):
        request_from_proto(pb.ExplainRequest())


@pytest.mark.parametrize("top_k", [-1, 0, 2**32])
def test_top_k_that_its_field_cannot_hold_is_not_written(top_k: int) -> None:
    call = ExplainCall(
        model="",
        version="",
        inputs=(TextInput(text="a"),),
        options=ExplainOptions(top_k=top_k),
    )
    with pytest.raises(InvalidInput, match=r"^options.top_k"):
        request_to_proto(call)


def test_text_that_is_no_unicode_is_not_written() -> None:
    call = ExplainCall(
        model="",
        version="",
        inputs=(TextInput(text="\ud800"),),
        options=ExplainOptions(),
    )
    with pytest.raises(InvalidInput, match="surrogate"):
        request_to_proto(call)


@pytest.mark.parametrize("place", [-1, 2**32])
def test_a_place_that_no_token_has_is_not_written(place: int) -> None:
    call = ExplainCall(
        model="",
        version="",
        inputs=(TextInput(text="a", masked_tokens=(1, place)),),
        options=ExplainOptions(),
    )
    with pytest.raises(InvalidInput, match=r"inputs\.masked_tokens"):
        request_to_proto(call)


def test_gates_travel_row_major_as_little_endian_float32() -> None:
    message = reply_to_proto(reply())
    gates = message.explanations[0].input_gates
    values = np.frombuffer(gates.values, dtype="<f4").reshape(tuple(gates.shape))
    expected = reply().explanations[0].input_gates
    assert expected is not None
    assert np.array_equal(values, expected)


def test_arrays_of_a_parsed_reply_can_be_changed() -> None:
    gates = reply_from_proto(reply_to_proto(reply())).explanations[0].input_gates
    assert gates is not None
    gates[0, 0] = 0.0


def test_label_stands_where_clients_of_one_task_look_for_it() -> None:
    # As a client sees it whose proto has no other fields.
    message = reply_to_proto(reply()).explanations[0].prediction
    assert message.label == "positive"
    assert {field.number for field, _ in message.ListFields()} == {1, 2, 3, 4}


def test_prediction_alone_has_no_units() -> None:
    message = reply_to_proto(reply(bare_explanation()))
    assert is_same(reply_from_proto(message).explanations[0], bare_explanation())


def _drop_gate_bytes(message: pb.Explanation) -> None:
    message.input_gates.values = message.input_gates.values[:-1]


def _drop_state(message: pb.Explanation) -> None:
    message.hidden_gates.shape[0] -= 1


def _drop_scores(message: pb.Explanation) -> None:
    message.scores = b""


def _drop_start(message: pb.Explanation) -> None:
    del message.units.starts[-1]


def _drop_logit(message: pb.Explanation) -> None:
    del message.prediction.logits[-1]


def _drop_label(message: pb.Explanation) -> None:
    message.prediction.label_index = 2


def _drop_name_of_a_label_set(message: pb.Explanation) -> None:
    label_set = message.prediction.label_set
    label_set.label_indices.append(0)
    label_set.probabilities.append(1.0)
    label_set.logits.append(1.0)


def _name_an_unknown_label(message: pb.Explanation) -> None:
    _drop_name_of_a_label_set(message)
    message.prediction.label_set.labels.append("joy")
    message.prediction.label_set.label_indices[0] = 1


def _drop_label_of_a_word(message: pb.Explanation) -> None:
    message.prediction.tags.words.CopyFrom(message.units)


def _drop_probability_of_a_word(message: pb.Explanation) -> None:
    tags = message.prediction.tags
    tags.words.CopyFrom(message.units)
    num_words = len(tags.words.texts)
    tags.labels.extend(["O"] * num_words)
    tags.label_indices.extend([0] * num_words)
    tags.probabilities = bytes(4 * num_words + 1)


def _end_before_the_start(message: pb.Explanation) -> None:
    message.prediction.span.start = 3


@pytest.mark.parametrize(
    "spoil",
    [
        _drop_gate_bytes,
        _drop_state,
        _drop_scores,
        _drop_start,
        _drop_logit,
        _drop_label,
        _drop_name_of_a_label_set,
        _name_an_unknown_label,
        _drop_label_of_a_word,
        _drop_probability_of_a_word,
        _end_before_the_start,
    ],
)
def test_malformed_reply_is_the_servers_fault(
    spoil: Callable[[pb.Explanation], None],
) -> None:
    message = reply_to_proto(reply())
    spoil(message.explanations[0])
    with pytest.raises(ServerError, match="malformed reply") as caught:
        reply_from_proto(message)
    assert caught.value.code == "DATA_LOSS"


def test_unknown_task_asks_for_an_upgrade() -> None:
    with pytest.raises(ServerError, match=r"'divination'.*upgrade"):
        model_from_proto(pb.Model(task="divination"))


def test_unknown_gate_kind_of_a_later_server_is_left_out() -> None:
    message = pb.Model(task="text_classification", gates=[1, 7])  # type: ignore[list-item]
    assert model_from_proto(message).gates == (GateKind.INPUT,)


def test_a_request_of_a_stream_survives_the_round_trip() -> None:
    call = ExplainCall(
        model="m",
        version="2",
        inputs=(TextInput(text="a", text_pair="b"),),
        options=ExplainOptions(top_k=3),
    )
    for timeout in (None, 0.5):
        request = StreamRequest(id="7", call=call, timeout_seconds=timeout)
        raw = stream_request_to_proto(request).SerializeToString()
        parsed = pb.ExplainStreamRequest.FromString(raw)
        assert stream_request_from_proto(parsed) == request


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("inf"), float("nan")])
def test_a_time_that_is_none_is_refused(timeout: float) -> None:
    message = pb.ExplainStreamRequest(
        request=pb.ExplainRequest(inputs=[pb.TextInput(text="a")]),
        timeout_seconds=timeout,
    )
    with pytest.raises(InvalidInput, match="timeout_seconds: is"):
        stream_request_from_proto(message)


def test_times_of_two_calls_add_up_but_for_the_wait() -> None:
    first = Timings(
        tokenize_seconds=1.0, queue_seconds=2.0, infer_seconds=3.0, decode_seconds=4.0
    )
    second = Timings(
        tokenize_seconds=0.5, queue_seconds=5.0, infer_seconds=0.25, decode_seconds=1.0
    )
    assert first.joined(second) == Timings(
        tokenize_seconds=1.5, queue_seconds=5.0, infer_seconds=3.25, decode_seconds=5.0
    )
