import io
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from diffmask_service.core.values import Explanation, TextInput
from diffmask_service.render import Report, TerminalView
from tests.support.replies import (
    LABELS,
    STATES,
    TEXT,
    bare_explanation,
    explanation,
    reply,
    units,
)

DEEP = ("word_embeddings", "embeddings", *(f"block_{i}" for i in range(1, 13)))


def shown(
    *explanations: Explanation,
    states: tuple[str, ...] = STATES,
    width: int = 80,
    has_colour: bool = False,
    encoding: str = "utf-8",
) -> str:
    report = Report(
        inputs=(TextInput(text=TEXT),) * max(1, len(explanations)),
        reply=reply(*explanations, states=states),
        labels=LABELS,
        hard_mask_threshold=0.5,
    )
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    console = Console(
        file=stream,
        width=width,
        color_system="truecolor" if has_colour else None,
        force_terminal=has_colour,
        _environ={},
    )
    console.print(TerminalView(report))
    stream.seek(0)
    return stream.read()


def row(text: str, token: str, nth: int = 0) -> str:
    return [line for line in text.splitlines() if line.startswith(f"{token} ")][nth]


def test_prediction_is_shown_with_every_probability() -> None:
    text = shown()
    assert "1.3%" in row(text, "negative")
    assert "98.7%" in row(text, "positive")


def test_token_has_its_score_its_gates_and_where_it_drops() -> None:
    assert row(shown(), "film").split() == [
        *("film", "▒.33", "█.94", "█.80", "▓.53", "░.24", "░.08"),
        *(".02", ".01", ".00", "b2"),
    ]


def test_hidden_gates_stand_below_and_without_a_drop() -> None:
    assert row(shown(), "stunning", nth=1).split() == [
        *("stunning", "█.85", "█.98", "█.84", "▓.52", "░.19", ".01"),
        *("░.06", "▒.32", ".00"),
    ]


def test_hidden_gates_stand_beside_where_there_is_room() -> None:
    wide = shown(width=140)
    assert len(row(wide, "film").split()) == 1 + 1 + 8 + 8 + 1
    assert wide.count("\nfilm") == 1


@pytest.mark.parametrize("has_colour", [False, True])
@pytest.mark.parametrize("states", [STATES, DEEP])
@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(
    width: int, states: tuple[str, ...], *, has_colour: bool
) -> None:
    text = shown(states=states, width=width, has_colour=has_colour)
    for line in text.splitlines():
        assert cell_len(_without_styles(line)) <= width


def _without_styles(line: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


def test_fourteen_states_fall_back_to_shades_in_80_columns() -> None:
    text = shown(states=DEEP)
    assert "0  1  2  3  4  5  6  7  8  9 10 11 12 13" in text.replace("  10", " 10")
    assert "███" in row(text, "stunning")
    assert "2-13 = block_1 to block_12" in text
    assert row(text, "stunning").split()[-1] == "13"


def test_colour_paints_the_ground_of_each_number() -> None:
    assert "\x1b[38;2;0;0;0;48;2;191;227;255m 1.0 \x1b[0m" in shown(has_colour=True)


def test_ascii_terminal_gets_ascii_shades() -> None:
    ascii_reply = replace(explanation(), units=units())
    text = shown(ascii_reply, encoding="ascii")
    assert row(text, "film").split()[1:4] == ["-.33", "#.94", "#.80"]


def test_verification_says_whether_the_prediction_holds() -> None:
    text = " ".join(shown().split())
    assert "score mask keeps 38% of tokens: prediction holds, positive 91.4%" in text


def test_verification_that_fails_says_so() -> None:
    failed = replace(explanation().verifications[0], state="block_1", is_agreeing=False)
    text = " ".join(shown(replace(explanation(), verifications=(failed,))).split())
    assert "mask of block_1 keeps 38% of tokens: PREDICTION CHANGES" in text


def test_prediction_alone_has_no_map() -> None:
    text = shown(bare_explanation())
    assert "98.7%" in text
    assert "gates" not in text


def test_truncation_is_said() -> None:
    text = shown(replace(explanation(), is_truncated=True))
    assert "Cut to its first 16 tokens" in text


def test_pairs_are_told_apart() -> None:
    paired = units()
    paired.segments[9:] = 1
    text = shown(replace(explanation(), units=paired))
    assert "\n1 visually" in text
    assert "\n1 ##ing" in text
    assert "\n2 film" in text


def test_hostile_token_cannot_act_on_the_terminal() -> None:
    hostile = units()
    hostile = replace(hostile, texts=("\x1b[2J", "[bold]b[/]", *hostile.texts[2:]))
    text = shown(replace(explanation(), units=hostile))
    assert "\x1b" not in text
    assert "[bold]b[/]" in text


def test_an_explanation_that_was_left_out_is_said_so() -> None:
    bare = replace(explanation(), units=None, scores=None, is_left_out=True)
    text = shown(bare)
    assert "No explanation: the prediction does not meet the condition" in text
    assert "No explanation" not in shown()
