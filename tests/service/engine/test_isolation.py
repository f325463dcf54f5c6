"""The shipped bundle: whoever shares a run or a request gets the same bits."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.isolation import TEXTS, compare, count_differences
from diffmask_service.app import open_engine
from diffmask_service.bundle import read_bundle
from diffmask_service.core.values import ExplainOptions, TextInput
from diffmask_service.engine import Engine, EngineLimits
from tests.support.replies import labelled

_BUNDLE = Path(__file__).parents[3] / "bundles" / "sst2-minilm"


@pytest.fixture(scope="module")
def shipped() -> Iterator[Engine]:
    engine = open_engine(_BUNDLE, limits=EngineLimits(workers=2))
    yield engine
    engine.close()


@pytest.mark.parametrize("precision", read_bundle(_BUNDLE).manifest.graphs)
async def test_mates_change_no_bit(precision: str) -> None:
    figures = await compare(_BUNDLE, precision=precision)
    assert figures["compared"] > 100
    assert figures["different"] == 0


def test_a_difference_is_counted() -> None:
    replies = [(["a", "other", "b"], [b"1", b"3", b"2"]), (["b"], [b"4"])]
    counts = count_differences({"a": b"1", "b": b"2"}, replies)
    assert counts == {"compared": 3, "different": 1}


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
