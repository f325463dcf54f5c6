from dataclasses import replace

import pytest

from diffmask_service.core.values import TextInput
from diffmask_service.render import Report
from diffmask_service.render.report import printable
from tests.support.replies import LABELS, TEXT, bare_explanation, reply


def report() -> Report:
    return Report(
        inputs=(TextInput(text=TEXT),),
        reply=reply(),
        labels=LABELS,
        hard_mask_threshold=0.5,
    )


def test_unit_is_droppable_from_the_first_state_under_the_threshold() -> None:
    explanation = report().reply.explanations[0]
    gates = explanation.input_gates
    assert gates is not None
    gates[:, 0] = 0.5
    gates[:, 1] = [0.9, 0.8, 0.5, 0.4999, 0.3, 0.2, 0.1, 0.0]
    gates[:, 2] = 0.0
    droppable_from = report().droppable_from(explanation)
    assert droppable_from[:3] == (None, "block_2", "word_embeddings")


def test_droppable_from_follows_the_threshold() -> None:
    strict = replace(report(), hard_mask_threshold=1.0)
    assert set(strict.droppable_from(strict.reply.explanations[0])) == {
        "word_embeddings"
    }


def test_nothing_is_droppable_without_input_gates() -> None:
    assert report().droppable_from(bare_explanation()) == ()


def test_reply_with_another_number_of_texts_is_refused() -> None:
    with pytest.raises(ValueError, match="argument"):
        list(replace(report(), inputs=()).items())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\tb\nc", "a b c"),
        ("\x1b[31mred", "\ufffd[31mred"),
        ("\x9b31m", "\ufffd31m"),
        ("left\u202eright", "left\ufffdright"),
        ("日本 café", "日本 café"),
        ("\u200d", "\u200d"),
        ("\ud800", "\ufffd"),
    ],
)
def test_printable_text_cannot_act_on_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown
