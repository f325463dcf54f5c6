import dataclasses
import math

import numpy as np
import pytest
import torch

from diffmask_training.batches import Encoding
from diffmask_training.encoding import encode, encoding_of
from diffmask_training.errors import DataError
from diffmask_training.records import Answer, Record
from diffmask_training.tasks.spans import QuestionAnswering, Span
from tests.support.checkpoint import tokenizer_of

TASK = QuestionAnswering(max_answer_tokens=2)
NONE = dataclasses.replace(TASK, no_answer_threshold=0.5)
CONTEXT = "The film, a fine film, was dull."


def _encoded(*answers: str) -> Encoding:
    # [CLS] was it [SEP] the film , a fine film , was dull . [SEP]
    record = Record(
        text="was it",
        text_pair=CONTEXT,
        label=tuple(Answer(text=a, start=CONTEXT.index(a)) for a in answers),
    )
    tokens = tokenizer_of("bert")(record.text, record.text_pair).encodings[0]
    return encoding_of(record, tokens, task=NONE)


def _span(first: int, last: int) -> Span:
    return Span(first=first, last=last, text="")


def test_tokens_of_the_context_are_scored() -> None:
    encoding = _encoded("dull")
    assert len(encoding.input_ids) == 15
    assert encoding.scored == tuple(range(4, 14))
    assert encoding.source == CONTEXT


def test_start_and_end_are_stacked_and_split_again() -> None:
    start, end = torch.randn(2, 3), torch.randn(2, 3)

    class Output:
        start_logits, end_logits = start, end

    logits = TASK.outputs(Output)
    assert logits.shape == (2, 3, 2)
    assert all(map(torch.equal, TASK.split(logits), (start, end)))


def test_divergence_is_the_sum_of_start_and_end_over_real_tokens() -> None:
    logits, masked = torch.zeros(1, 3, 2), torch.zeros(1, 3, 2)
    logits[0, 1] = torch.tensor([math.log(3.0), math.log(4.0)])
    logits[0, 2] = 30.0  # padding
    mask = torch.tensor([[1, 1, 0]])
    start = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    end = 0.2 * math.log(0.4) + 0.8 * math.log(1.6)
    found = TASK.divergence(logits, masked, {"attention_mask": mask})
    assert found.tolist() == pytest.approx([start + end], abs=1e-6)


def test_padding_has_no_gradient() -> None:
    masked = torch.zeros(1, 3, 2, requires_grad=True)
    mask = torch.tensor([[1, 1, 0]])
    found = TASK.divergence(torch.randn(1, 3, 2), masked, {"attention_mask": mask})
    torch.autograd.backward(found.sum())
    assert masked.grad is not None
    assert torch.isfinite(masked.grad).all()
    assert not masked.grad[0, 2].any()
    assert masked.grad[0, :2].any()


def test_prediction_is_the_best_span_of_the_context_as_written() -> None:
    logits = np.zeros((15, 2))
    logits[0] = 9.0  # no token of the context
    logits[7, 0], logits[8, 1] = 3.0, 2.0
    found = TASK.predict(logits, _encoded("dull"))
    assert found == Span(first=7, last=8, text="a fine")


def test_a_text_whose_context_was_cut_away_has_no_prediction() -> None:
    empty = Encoding(input_ids=(1, 2), token_type_ids=(0, 0))
    assert TASK.predict(np.zeros((2, 2)), empty) is None


def test_agreement_is_of_whole_spans_and_f1_of_their_tokens() -> None:
    assert TASK.agreement(_span(3, 5), _span(3, 5)) == 1.0
    assert TASK.agreement(_span(3, 5), _span(4, 5)) == 0.0
    spans = [_span(3, 5), _span(3, 3), _span(1, 2)], [_span(4, 6), _span(4, 4), None]
    # Two of three and three tokens; none; no span at all.
    assert TASK.fidelity(*spans)["span_f1"] == pytest.approx((2 / 3) / 3)


@pytest.mark.parametrize(
    ("said", "exact", "f1"),
    [
        ("Dull!", 1.0, 1.0),
        ("the film", 1.0, 1.0),
        ("fine dull film", 0.0, 0.5),
        ("was", 0.0, 0.0),
    ],
)
def test_quality_is_that_of_squad(said: str, exact: float, f1: float) -> None:
    quality = TASK.quality(
        [Span(first=0, last=0, text=said)], [_encoded("dull", "film")]
    )
    assert quality.accuracy == exact
    assert quality.scores["f1"] == pytest.approx(f1)


def test_no_answer_is_predicted_where_the_first_token_wins_by_the_threshold() -> None:
    logits = np.zeros((15, 2))
    logits[7, 0], logits[8, 1] = 3.0, 2.0
    logits[0] = 2.75
    assert NONE.predict(logits, _encoded("dull")) == Span(
        first=7, last=8, text="a fine"
    )
    logits[0] = 2.8
    assert NONE.predict(logits, _encoded("dull")) is None
    assert TASK.predict(logits, _encoded("dull")) is not None


def test_fidelity_tells_whether_there_is_still_an_answer() -> None:
    before, after = [_span(1, 2), _span(1, 2), None], [_span(3, 4), None, None]
    assert NONE.fidelity(before, after) == {
        "span_f1": pytest.approx(1 / 3),
        "has_answer_agreement": pytest.approx(2 / 3),
    }
    assert "has_answer_agreement" not in TASK.fidelity(before, after)


def test_quality_counts_no_answer_where_there_is_none() -> None:
    said = [Span(first=0, last=0, text=text) for text in ("dull", "fine film", "was")]
    texts = [_encoded("dull"), _encoded("film"), _encoded(), _encoded()]
    quality = NONE.quality([*said, None], texts)
    assert quality.accuracy == pytest.approx(2 / 4)
    assert quality.scores == {
        # A word of two is a third short of both; the last two are wrong and right.
        "f1": pytest.approx((1 + 2 / 3 + 0 + 1) / 4),
        "no_answer_accuracy": pytest.approx(1 / 2),
        "has_answer_accuracy": pytest.approx(1 / 2),
        "has_answer_f1": pytest.approx((1 + 2 / 3) / 2),
    }


def test_question_without_an_answer_needs_a_threshold() -> None:
    record = Record(text="was it", text_pair=CONTEXT, label=())
    tokenizer = tokenizer_of("bert")
    with pytest.raises(DataError, match="'was it' has no answer; give a --no-answer"):
        encode([record], tokenizer, 32, task=TASK)
    assert encode([record], tokenizer, 32, task=NONE)[0].label == ()


def test_questions_are_never_cut() -> None:
    record = Record(text="was it", text_pair=CONTEXT)
    tokenizer = tokenizer_of("bert")
    cut = encode([record], tokenizer, 8, task=TASK)[0]
    assert cut.scored == (4, 5, 6)
    with pytest.raises(DataError, match="cannot be cut to 4 tokens"):
        encode([record], tokenizer, 4, task=TASK)


def test_a_question_without_a_context_is_refused() -> None:
    with pytest.raises(DataError, match="needs a second text"):
        encode([Record(text="was it")], tokenizer_of("bert"), 8, task=TASK)
