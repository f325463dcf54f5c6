import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from diffmask_service.core.predictions import (
    LabelSetPrediction,
    Prediction,
    SpanPrediction,
    TagsPrediction,
    ValuePrediction,
)
from diffmask_service.core.values import TextInput
from diffmask_service.render import Report, TerminalView, render_json, render_page
from diffmask_service.render.predictions import bars, headline
from tests.support.replies import TEXT, explanation, prediction, reply, units

LABEL_SET = LabelSetPrediction(
    labels=("joy", "fear"),
    label_indices=(0, 2),
    probabilities=np.array([0.75, 0.25, 0.5], dtype=np.float32),
    logits=np.array([1.0986, -1.0986, 0.0], dtype=np.float32),
)
VALUE = ValuePrediction(value=float(np.float32(3.1)))
TAGS = TagsPrediction(
    words=units(("stunning", "film")),
    labels=("GOOD", "O"),
    label_indices=np.array([1, 0]),
    probabilities=np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32),
)
SPAN = SpanPrediction(text="boring film", start=29, end=40, probability=0.5)
LABELS = ("joy", "love", "fear")


def report(said: Prediction, labels: tuple[str, ...] = LABELS) -> Report:
    whole = explanation()
    verification = replace(whole.verifications[0], prediction=said)
    whole = replace(whole, prediction=said, verifications=(verification,))
    return Report(
        inputs=(TextInput(text=TEXT),),
        reply=reply(whole),
        labels=labels,
        hard_mask_threshold=0.5,
    )


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (prediction(positive=0.75), "positive 75.0%"),
        (LABEL_SET, "joy, fear"),
        (replace(LABEL_SET, labels=(), label_indices=()), "no label"),
        (VALUE, "3.1"),
        (TAGS, "GOOD O"),
        (SPAN, "boring film 50.0%"),
        (replace(SPAN, text="", start=0, end=0, no_answer=True), "no answer 50.0%"),
        (replace(SPAN, text="a\x1b[2J"), "a\ufffd[2J 50.0%"),
    ],
)
def test_a_prediction_fits_on_one_line(said: Prediction, line: str) -> None:
    assert str(headline(said)) == line


def test_bars_mark_every_label_that_holds() -> None:
    shown = bars(LABEL_SET, LABELS)
    assert [bar.name for bar in shown if bar.is_chosen] == ["joy", "fear"]
    assert [bar.value for bar in shown] == [0.75, 0.25, 0.5]


def test_bars_of_words_show_the_label_of_each() -> None:
    shown = bars(TAGS, ("O", "GOOD"))
    assert [(bar.name, bar.value) for bar in shown] == [
        *(("stunning  GOOD", 0.75), ("film  O", 0.5))
    ]


@pytest.mark.parametrize("said", [VALUE, SPAN])
def test_one_number_or_answer_has_no_bars(said: Prediction) -> None:
    assert bars(said, ()) == ()


@pytest.mark.parametrize(
    ("said", "shown"),
    [(LABEL_SET, "joy"), (VALUE, "3.1"), (TAGS, "GOOD"), (SPAN, "boring film")],
)
def test_every_renderer_shows_the_prediction(said: Prediction, shown: str) -> None:
    stream = io.StringIO()
    Console(file=stream, width=100, color_system=None).print(TerminalView(report(said)))
    assert shown in stream.getvalue()
    assert f"<strong>{headline(said).text}</strong>" in render_page(report(said))


def test_json_has_the_fields_of_each_task() -> None:
    found = [
        json.loads(render_json(report(said)))["explanations"][0]["prediction"]
        for said in (LABEL_SET, VALUE, TAGS, SPAN)
    ]
    assert found[0]["labels"] == ["joy", "fear"]
    assert found[0]["label_indices"] == [0, 2]
    assert found[0]["probabilities"] == [0.75, 0.25, 0.5]
    assert found[1] == {"value": 3.1}
    start = TEXT.index("stunning")
    assert found[2]["words"][0] == {
        "text": "stunning",
        "start": start,
        "end": start + 8,
        "label": "GOOD",
        "label_index": 1,
        "probabilities": [0.25, 0.75],
    }
    assert found[3] == {
        "text": "boring film",
        "start": 29,
        "end": 40,
        "probability": 0.5,
        "no_answer": False,
    }
