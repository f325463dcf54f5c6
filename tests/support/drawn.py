"""Requests and replies of every shape, drawn by hypothesis."""

from dataclasses import replace

import numpy as np
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
from diffmask_service.wire.converters import ExplainCall

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
