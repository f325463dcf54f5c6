import numpy as np
import pytest

from diffmask_training.batches import Encoding
from diffmask_training.experiments.sentiment.groups import (
    by_part_of_speech,
    by_sentiment,
    first_token_share,
)
from diffmask_training.experiments.sentiment.masks import ProbeRun
from diffmask_training.experiments.sentiment.sentences import (
    EncodedSentence,
    Sentence,
)


@pytest.fixture
def sentence() -> EncodedSentence:
    # The first word is two tokens, between the special ones.
    return EncodedSentence(
        sentence=Sentence(words=("goodly", "film"), sentiments=(4, 2), label=1),
        encoding=Encoding(input_ids=(1,) * 5, token_type_ids=(0,) * 5, label=1),
        words=(-1, 0, 0, 1, -1),
    )


@pytest.fixture
def run() -> ProbeRun:
    keep = [[0.9, 0.2, 0.4, 0.1, 0.8], [0.7, 0.2, 0.2, 0.1, 0.6]]
    return ProbeRun(
        predicted=np.array([1]),
        masked=np.zeros((0, 1), dtype=np.int64),
        keep_probability=(np.array(keep, dtype=np.float32),),
    )


def test_pieces_have_the_sentiment_of_their_word(
    run: ProbeRun, sentence: EncodedSentence
) -> None:
    groups = by_sentiment(run, [sentence])
    # Means over both states: 0.2 and 0.3 for the first word, 0.1 for the second.
    assert groups["4"]["mean"] == pytest.approx(0.25)
    assert groups["4"]["std"] == pytest.approx(0.05)
    assert groups["2"]["num_tokens"] == 1
    assert set(groups) == {"2", "4"}


def test_special_tokens_are_groups_of_their_own(
    run: ProbeRun, sentence: EncodedSentence
) -> None:
    groups = by_part_of_speech(run, [sentence], lambda words: ["ADJ", "NOUN"])
    assert groups["[CLS]"]["mean"] == pytest.approx(0.8)
    assert groups["[SEP]"]["mean"] == pytest.approx(0.7)
    assert groups["NOUN"]["mean"] == pytest.approx(0.1)


def test_first_token_is_looked_for_at_the_last_state(run: ProbeRun) -> None:
    assert first_token_share(run) == 1.0
    (keep,) = run.keep_probability
    other = ProbeRun(
        predicted=run.predicted, masked=run.masked, keep_probability=(keep[:, ::-1],)
    )
    assert first_token_share(other) == 0.0
