"""A served model that answers questions, known by arithmetic."""

from collections.abc import Iterator

import numpy as np
import pytest

from diffmask_service.app import open_engine
from diffmask_service.core.predictions import SpanPrediction
from diffmask_service.core.values import ExplainOptions, Explanation, TextInput
from diffmask_service.engine import Engine
from diffmask_service.errors import InvalidInput
from tests.support.tiny import write_tiny_span_bundle

QUESTION = TextInput(text="good", text_pair="Dull, fun movie")


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    directory = tmp_path_factory.mktemp("bundles") / "spans"
    write_tiny_span_bundle(directory)
    engine = open_engine(directory)
    yield engine
    engine.close()


async def explain(engine: Engine, text: TextInput, *, verify: bool) -> Explanation:
    reply = await engine.explain([text], ExplainOptions(verify=verify))
    return reply.explanations[0]


async def test_answer_is_cut_from_the_context_as_written(answering: Engine) -> None:
    # In the context dull weighs -2, a comma 0, fun 2 and movie a quarter.
    prediction = (await explain(answering, QUESTION, verify=False)).prediction
    assert isinstance(prediction, SpanPrediction)
    assert prediction.text == "fun"
    assert (prediction.start, prediction.end) == (6, 9)
    weights = np.array([0.25, 2.0, 0.0, -2.0, 0.0, 2.0, 0.25, 0.0])
    chance = np.exp(2.0) / np.exp(weights).sum()
    assert prediction.probability == pytest.approx(chance**2, rel=1e-5)


async def test_verification_reads_start_and_end_of_the_kept_tokens(
    answering: Engine,
) -> None:
    # Scores are three quarters of a token's gate.
    explanation = await explain(answering, QUESTION, verify=True)
    (verification,) = explanation.verifications
    assert isinstance(verification.prediction, SpanPrediction)
    assert explanation.scores is not None
    keep = explanation.scores >= 0.5
    assert verification.kept_share == pytest.approx(float(keep.mean()))
    weights = np.array([0.25, 2.0, 0.0, -2.0, 0.0, 2.0, 0.25, 0.0])
    full, masked = (
        np.exp(each) / np.exp(each).sum() for each in (weights, weights * keep)
    )
    expected = 2 * float(np.sum(full * np.log(full / masked)))
    assert verification.divergence == pytest.approx(expected, rel=1e-5)
    texts = explanation.units.texts if explanation.units is not None else ()
    assert [text for text, kept in zip(texts, keep, strict=True) if kept] == [
        *("good", "dull", "fun")
    ]
    assert verification.is_agreeing


async def test_a_question_without_context_is_refused(answering: Engine) -> None:
    with pytest.raises(InvalidInput, match="questions with their context"):
        await explain(answering, TextInput(text="good"), verify=False)
