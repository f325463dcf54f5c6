import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffmask_service.render import scale
from tests.support.replies import STATES

values = st.floats(min_value=0.0, max_value=1.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, ".00"), (0.004, ".00"), (0.5, ".50"), (0.994, ".99"), (0.996, "1.0")],
)
def test_number_takes_three_characters(value: float, text: str) -> None:
    assert scale.number(value) == text


@given(values, values)
def test_colour_grows_lighter_with_the_value(one: float, other: float) -> None:
    low, high = sorted((one, other))
    pairs = zip(scale.colour(low), scale.colour(high), strict=True)
    assert all(dark <= light for dark, light in pairs)


@pytest.mark.parametrize(
    ("value", "block", "plain"),
    [
        (0.0, " ", " "),
        (0.05, "░", "."),
        (0.25, "▒", "-"),
        (0.5, "▓", "+"),
        (1, "█", "#"),
    ],
)
def test_shade_grows_blacker_with_the_value(
    value: float, block: str, plain: str
) -> None:
    assert scale.shade(value, ascii_only=False) == block
    assert scale.shade(value, ascii_only=True) == plain


@pytest.mark.parametrize(
    ("value", "style"),
    [
        (0.0, "#ffffff on #18202e"),
        (0.5, "#ffffff on #2f6db0"),
        (0.75, "#000000 on #77a8d8"),
        (1.0, "#000000 on #bfe3ff"),
    ],
)
def test_ink_stands_out_from_its_ground(value: float, style: str) -> None:
    # Contrast by the accessibility guidelines: 16.3, 5.3, 8.4 and 15.6 to 1.
    assert scale.style(value) == style


def test_states_get_short_names() -> None:
    assert scale.short_names(STATES) == (
        *("word", "emb"),
        *("b1", "b2", "b3", "b4", "b5", "b6"),
    )


@pytest.mark.parametrize(
    "states", [("block_1", "bridge_1"), ("first", "second"), ("block_1000",)]
)
def test_states_with_no_short_names_get_numbers(states: tuple[str, ...]) -> None:
    assert scale.short_names(states) == tuple(map(str, range(len(states))))


def test_key_draws_numbered_states_together() -> None:
    assert scale.key(STATES, scale.short_names(STATES)) == (
        "word = word_embeddings, emb = embeddings, b1-b6 = block_1 to block_6"
    )
