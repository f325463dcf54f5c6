from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from diffmask_service.core.predictions import (
    Float32Array,
    Int64Array,
    LabelPrediction,
    LabelSetPrediction,
    Prediction,
    SpanPrediction,
    TagsPrediction,
    Units,
    ValuePrediction,
)
from diffmask_service.core.values import (
    ExplainOptions,
    ExplainWhen,
    Explanation,
    GateKind,
    Granularity,
    ModelDescription,
    ModelIdentity,
    Reply,
    Task,
    TextInput,
    Timings,
    Verification,
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
from tests.support.replies import bare_explanation, is_same, reply

names = st.text(max_size=8)
name_lists = st.lists(names, unique=True, max_size=4).map(tuple)
seconds = st.floats(min_value=0.0, max_value=1e6)
shares = st.floats(min_value=0.0, max_value=1.0, width=32)
gate_kinds = st.sampled_from(GateKind)


def float_arrays(*shape: int) -> st.SearchStrategy[Float32Array]:
    return stn.arrays(np.float32, shape, elements=shares)


def count_arrays(size: int) -> st.SearchStrategy[Int64Array]:
    return stn.arrays(np.int64, size, elements=st.integers(0, 2**32 - 1))


bounds = st.none() | st.floats(allow_nan=False)
conditions = st.builds(
    ExplainWhen,
    labels=name_lists,
    probability_below=bounds,
    probability_at_least=bounds,
    entropy_at_least=bounds,
)


@st.composite
def calls(draw: st.DrawFn) -> ExplainCall:
    is_verified = draw(st.booleans())
    return ExplainCall(
        model=draw(names),
        version=draw(names),
        inputs=tuple(
            draw(
                st.lists(
                    st.builds(
                        TextInput,
                        text=names,
                        text_pair=st.none() | names,
                        masked_tokens=st.lists(st.integers(0, 2**32 - 1)).map(tuple),
                    ),
                    min_size=1,
                    max_size=3,
                )
            )
        ),
        options=ExplainOptions(
            gates=draw(st.frozensets(gate_kinds)),
            states=draw(name_lists),
            granularity=draw(st.sampled_from(Granularity)),
            top_k=draw(st.none() | st.integers(1, 2**32 - 1)),
            truncate=draw(st.booleans()),
            verify=is_verified,
            verify_states=draw(name_lists) if is_verified else (),
            explain_when=draw(st.none() | conditions),
        ),
    )


@st.composite
def label_predictions(draw: st.DrawFn) -> LabelPrediction:
    num_labels = draw(st.integers(1, 4))
    return LabelPrediction(
        label=draw(names),
        label_index=draw(st.integers(0, num_labels - 1)),
        probabilities=draw(float_arrays(num_labels)),
        logits=draw(float_arrays(num_labels)),
    )


@st.composite
def label_set_predictions(draw: st.DrawFn) -> LabelSetPrediction:
    num_labels = draw(st.integers(1, 4))
    chosen = draw(st.frozensets(st.integers(0, num_labels - 1)))
    return LabelSetPrediction(
        labels=tuple(draw(names) for _ in chosen),
        label_indices=tuple(sorted(chosen)),
        probabilities=draw(float_arrays(num_labels)),
        logits=draw(float_arrays(num_labels)),
    )


@st.composite
def tags_predictions(draw: st.DrawFn) -> TagsPrediction:
    num_words, num_labels = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    indices = stn.arrays(np.int64, num_words, elements=st.integers(0, num_labels - 1))
    return TagsPrediction(
        words=draw(units(num_words)),
        labels=tuple(draw(names) for _ in range(num_words)),
        label_indices=draw(indices),
        probabilities=draw(float_arrays(num_words, num_labels)),
    )


@st.composite
def span_predictions(draw: st.DrawFn) -> SpanPrediction:
    start, end = sorted(draw(st.tuples(*[st.integers(0, 2**32 - 1)] * 2)))
    return SpanPrediction(
        text=draw(names),
        start=start,
        end=end,
        probability=draw(shares),
        no_answer=draw(st.booleans()),
    )


def predictions() -> st.SearchStrategy[Prediction]:
    return st.one_of(
        label_predictions(),
        label_set_predictions(),
        st.builds(ValuePrediction, value=st.floats(allow_nan=False)),
        tags_predictions(),
        span_predictions(),
    )


@st.composite
def units(draw: st.DrawFn, size: int) -> Units:
    return Units(
        texts=tuple(draw(st.lists(names, min_size=size, max_size=size))),
        starts=draw(count_arrays(size)),
        ends=draw(count_arrays(size)),
        segments=draw(count_arrays(size)),
        is_special=draw(stn.arrays(np.bool_, size)),
    )


@st.composite
def explanations(draw: st.DrawFn, num_states: int) -> Explanation:
    num_units = draw(st.none() | st.integers(0, 5))
    bare = Explanation(
        prediction=draw(predictions()),
        num_tokens=draw(st.integers(0, 2**32 - 1)),
        is_truncated=draw(st.booleans()),
        is_left_out=draw(st.booleans()),
    )
    if num_units is None:
        return bare
    gates = st.none() | float_arrays(num_states, num_units)
    verifications = st.builds(
        Verification,
        state=names,
        divergence=shares,
        is_agreeing=st.booleans(),
        kept_share=shares,
        prediction=predictions(),
    )
    return replace(
        bare,
        units=draw(units(num_units)),
        scores=draw(float_arrays(num_units)),
        input_gates=draw(gates),
        hidden_gates=draw(gates),
        verifications=tuple(draw(st.lists(verifications, max_size=2))),
    )


identities = st.builds(
    ModelIdentity, id=names, version=names, digest=names, precision=names
)


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    states = draw(name_lists)
    return Reply(
        model=draw(identities),
        states=states,
        explanations=tuple(draw(st.lists(explanations(len(states)), max_size=2))),
        timings=draw(
            st.builds(
                Timings,
                tokenize_seconds=seconds,
                queue_seconds=seconds,
                infer_seconds=seconds,
                decode_seconds=seconds,
            )
        ),
        request_id=draw(names),
    )


descriptions = st.builds(
    ModelDescription,
    identity=identities,
    task=st.sampled_from(Task),
    labels=name_lists,
    max_tokens=st.integers(0, 2**32 - 1),
    states=name_lists,
    gates=st.lists(gate_kinds, unique=True).map(tuple),
    hard_mask_threshold=shares,
    takes_pairs=st.booleans(),
    is_ready=st.booleans(),
    manifest_json=names,
)


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
