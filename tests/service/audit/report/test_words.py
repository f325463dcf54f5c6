from dataclasses import replace

import numpy as np
import pytest

from diffmask_service.audit.report.words import words_of
from tests.support.explained import explained


def test_a_word_has_all_its_tokens_and_their_largest_score() -> None:
    #  It | 's | fun | ny | .
    text = explained(
        "It's funny.",
        [0.1, 0.4, 0.9, 0.2, 0.3],
        tokens=[(0, 2), (2, 4), (5, 8), (8, 10), (10, 11)],
    )
    words = words_of(text)
    assert [word.text for word in words] == ["It's", "funny", "."]
    assert [word.key for word in words] == ["it's", "funny", "."]
    assert [word.tokens for word in words] == [(0, 1), (2, 3), (4,)]
    assert [word.score for word in words] == pytest.approx([0.4, 0.9, 0.3])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी में", ["हिन्दी", "में"]),
        (
            "می\N{ZERO WIDTH NON-JOINER}خواهم",
            ["می\N{ZERO WIDTH NON-JOINER}خواهم"],
        ),
        ("cafe\N{COMBINING ACUTE ACCENT}s!", ["cafe\N{COMBINING ACUTE ACCENT}s", "!"]),
        # The selector that makes it a picture belongs to no word.
        (
            "\N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}good",
            ["\N{HEAVY BLACK HEART}", "\N{VARIATION SELECTOR-16}", "good"],
        ),
    ],
)
def test_marks_belong_to_the_letter_that_they_stand_on(
    text: str, words: list[str]
) -> None:
    whole = explained(text, [1.0], tokens=[(0, len(text))])
    assert [word.text for word in words_of(whole)] == words


def test_tokens_with_their_blank_belong_to_the_word_behind_it() -> None:
    text = explained("so good", [0.1, 0.7], tokens=[(0, 2), (2, 7)])
    assert [word.tokens for word in words_of(text)] == [(0,), (1,)]


def test_special_tokens_and_what_was_cut_off_are_in_no_word() -> None:
    text = explained(
        "good movie",
        [0.5, 0.6],
        tokens=[(0, 0), (0, 4)],
        is_special=np.array([True, False]),
    )
    assert [(word.text, word.tokens) for word in words_of(text)] == [("good", (1,))]


def test_words_of_a_pair_keep_apart() -> None:
    text = explained(
        "good",
        [0.5, 0.6],
        tokens=[(0, 4), (0, 4)],
        text_pair="news",
        segments=np.array([0, 1]),
    )
    found = [(word.text, word.segment, word.tokens) for word in words_of(text)]
    assert found == [("good", 0, (0,)), ("news", 1, (1,))]


def test_a_hashed_text_has_no_words() -> None:
    assert words_of(replace(explained("good", [0.5]), text=None)) == ()
