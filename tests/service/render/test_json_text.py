import json
from dataclasses import replace

import numpy as np

from diffmask_service.core.values import Explanation, TextInput
from diffmask_service.render import Report, render_json
from tests.support.replies import LABELS, STATES, TEXT, bare_explanation, reply


def rendered(*explanations: Explanation) -> str:
    report = Report(
        inputs=(TextInput(text=TEXT),),
        reply=reply(*explanations),
        labels=LABELS,
        hard_mask_threshold=0.5,
    )
    return render_json(report)


def test_fields_are_the_documented_ones() -> None:
    value = json.loads(rendered())
    assert list(value) == [
        *("format", "model", "request_id", "options", "labels", "states"),
        *("hard_mask_threshold", "explanations", "timings"),
    ]
    assert list(value["explanations"][0]) == [
        *("text", "text_pair", "prediction", "num_tokens", "is_truncated", "units"),
        *("input_gates", "hidden_gates", "verifications", "is_left_out"),
    ]
    assert list(value["explanations"][0]["units"][0]) == [
        *("text", "start", "end", "segment", "is_special", "score"),
        "droppable_from",
    ]
    assert value["states"] == list(STATES)


def test_numbers_give_back_the_same_float32() -> None:
    value = json.loads(rendered())["explanations"][0]
    original = reply().explanations[0]
    for name in ("input_gates", "hidden_gates"):
        assert np.array_equal(
            np.array(value[name], dtype=np.float32), getattr(original, name)
        )


def test_numbers_have_no_digits_of_a_double() -> None:
    half = np.array([[0.1, 0.7]], dtype=np.float32)
    item = replace(reply().explanations[0], hidden_gates=half)
    value = json.loads(rendered(item))["explanations"][0]
    assert value["hidden_gates"] == [[0.1, 0.7]]


def test_prediction_alone_has_null_gates_and_units() -> None:
    value = json.loads(rendered(bare_explanation()))["explanations"][0]
    assert value["units"] is None
    assert value["input_gates"] is None


def test_units_without_input_gates_name_no_state() -> None:
    only_hidden = replace(reply().explanations[0], input_gates=None)
    value = json.loads(rendered(only_hidden))["explanations"][0]
    assert "droppable_from" not in value["units"][0]


def test_text_is_ascii() -> None:
    report = Report(
        inputs=(TextInput(text="caf\u00e9 \x9b \u202e"),),
        reply=reply(),
        labels=LABELS,
        hard_mask_threshold=0.5,
    )
    assert render_json(report).isascii()
