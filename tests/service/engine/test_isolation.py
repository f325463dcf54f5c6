"""The shipped bundle: whoever shares a run or a request gets the same bits."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffmask_service.app import open_engine
from diffmask_service.core.values import ExplainOptions, Explanation, TextInput
from diffmask_service.engine import Engine, EngineLimits
from tests.support.replies import labelled

_BUNDLE = Path(__file__).parents[3] / "bundles" / "sst2-minilm"
# Several of equal length, so that groups form, and some of lengths of their own.
TEXTS = (
    "A fast , funny , highly enjoyable movie .",
    "A slow , dull , hardly bearable movie .",
    "A warm , clever , truly moving story .",
    "good",
    "bad",
    "not at all what it could have been",
    "the actors do their best with a script that gives them nothing to do at all",
)


@pytest.fixture(scope="module")
def shipped() -> Iterator[Engine]:
    engine = open_engine(_BUNDLE, limits=EngineLimits(workers=2))
    yield engine
    engine.close()


def bits(explanation: Explanation) -> tuple[bytes, bytes, bytes]:
    assert explanation.input_gates is not None
    assert explanation.hidden_gates is not None
    return (
        labelled(explanation.prediction).logits.tobytes(),
        explanation.input_gates.tobytes(),
        explanation.hidden_gates.tobytes(),
    )


async def explain(engine: Engine, *texts: str) -> list[tuple[bytes, bytes, bytes]]:
    inputs = [TextInput(text=text) for text in texts]
    reply = await engine.explain(inputs, ExplainOptions(), deadline=float("inf"))
    return [bits(explanation) for explanation in reply.explanations]


async def test_alone_grouped_reordered_and_at_once_are_bitwise_equal(
    shipped: Engine,
) -> None:
    alone = {text: (await explain(shipped, text))[0] for text in TEXTS}
    for order in (TEXTS, TEXTS[::-1], TEXTS * 2, TEXTS[:3] * 8):
        assert await explain(shipped, *order) == [alone[text] for text in order]
    at_once = await asyncio.gather(*(explain(shipped, text) for text in TEXTS * 3))
    assert [each[0] for each in at_once] == [alone[text] for text in TEXTS * 3]


async def test_prediction_is_the_same_with_and_without_gates(shipped: Engine) -> None:
    inputs = [TextInput(text=text) for text in TEXTS]
    plain = await shipped.explain(inputs, ExplainOptions(gates=frozenset()))
    explained = await shipped.explain(inputs, ExplainOptions())
    for one, other in zip(plain.explanations, explained.explanations, strict=True):
        assert labelled(one.prediction).label == labelled(other.prediction).label
        difference = abs(
            labelled(one.prediction).logits - labelled(other.prediction).logits
        ).max()
        assert difference <= 1e-5
