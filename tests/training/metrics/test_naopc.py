from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.metrics.erasure import aopc, comprehensiveness, erase
from diffmask_training.metrics.naopc import (
    EXACT_MAX_TOKENS,
    AopcLimits,
    aopc_limits,
    naopc,
)
from diffmask_training.metrics.probabilities import Predict
from tests.support.closed_form import additive, logistic, table


def _aopc(model: Predict, scores: NDArray[np.float64]) -> float:
    counts = list(range(1, len(scores) + 1))
    value = aopc(comprehensiveness(erase(model, scores, counts=counts)))
    assert value is not None
    return value


def _tangled(num_tokens: int) -> Predict:
    """A model with no structure: every set of tokens has a chance of its own."""
    chances = np.random.default_rng(0).uniform(size=2**num_tokens)
    chances[-1] = 0.9

    def predict(keep: NDArray[np.bool_]) -> NDArray[np.float64]:
        chance = chances[keep @ (1 << np.arange(num_tokens))]
        return np.stack([1 - chance, chance], axis=-1)

    return predict


def test_limits_of_an_additive_model_worked_by_hand() -> None:
    model = additive(np.array([0.5, 0.25, 0.0]), whole=1.0)
    limits = aopc_limits(model, 3)
    # Largest first loses 1/2, 3/4, 3/4; smallest first loses 0, 1/4, 3/4.
    assert limits.upper == pytest.approx(2 / 3)
    assert limits.lower == pytest.approx(1 / 3)
    # The middle one first: 1/4, 3/4, 3/4.
    value = _aopc(model, np.array([2.0, 3.0, 1.0]))
    assert naopc(value, limits) == pytest.approx((7 / 12 - 1 / 3) / (1 / 3))


def test_exact_limits_are_those_of_all_orders() -> None:
    model = _tangled(5)
    values = [_aopc(model, -np.array(order)) for order in permutations(range(5))]
    limits = aopc_limits(model, 5)
    assert limits.upper == pytest.approx(max(values))
    assert limits.lower == pytest.approx(min(values))


def test_wide_beam_is_exact() -> None:
    model = _tangled(6)
    # 20 sets hold three of six tokens, more than of any other size.
    assert aopc_limits(model, 6, beam_width=20) == aopc_limits(model, 6)


def test_narrow_beam_misses_what_only_pays_later() -> None:
    # Tokens 0 and 1 matter together, and token 2 a little; by what is left:
    chances = {(0, 1, 2): 0.875, (0, 1): 0.75, (0, 2): 0.875, (1, 2): 0.875}
    chances |= {(0,): 0.75, (1,): 0.75, (2,): 0.125, (): 0.125}
    model = table(chances)
    # Best is 0, 3/4, 3/4 by removing 0 and 1 first; greed starts with token 2, for
    # 1/8, 1/8, 3/4. Worst is 0, 1/8, 3/4, for both.
    assert aopc_limits(model, 3) == AopcLimits(lower=7 / 24, upper=12 / 24)
    assert aopc_limits(model, 3, beam_width=1) == AopcLimits(lower=7 / 24, upper=8 / 24)


def test_beam_of_one_is_exact_for_an_additive_model() -> None:
    drops = np.random.default_rng(1).uniform(0, 1 / 40, size=30)
    model = additive(drops, whole=1.0)
    limits = aopc_limits(model, 30, beam_width=1)
    assert limits.upper == pytest.approx(_aopc(model, drops))
    assert limits.lower == pytest.approx(_aopc(model, -drops))


def test_each_set_is_run_once() -> None:
    model = _tangled(4)
    seen: list[tuple[bool, ...]] = []

    def counted(keep: NDArray[np.bool_]) -> NDArray[np.floating]:
        seen.extend(tuple(row) for row in keep.tolist())
        return model(keep)

    aopc_limits(counted, 4)
    assert len(seen) == len(set(seen)) == 2**4


def test_best_order_scores_one_and_worst_zero() -> None:
    weights = np.array([0.9, 0.4, 1.7, 0.2])
    model = logistic(weights, bias=-0.5)
    limits = aopc_limits(model, 4)
    assert naopc(_aopc(model, weights), limits) == pytest.approx(1.0)
    assert naopc(_aopc(model, -weights), limits) == pytest.approx(0.0)


def test_one_token_has_one_order() -> None:
    limits = aopc_limits(additive(np.array([0.5]), whole=1.0), 1)
    assert limits == AopcLimits(lower=0.5, upper=0.5)
    assert naopc(0.5, limits) is None


def test_long_texts_need_a_beam() -> None:
    model = additive(np.zeros(EXACT_MAX_TOKENS + 1), whole=1.0)
    with pytest.raises(MetricError, match="set a beam width"):
        aopc_limits(model, EXACT_MAX_TOKENS + 1)


@pytest.mark.parametrize(("num_tokens", "beam_width"), [(0, None), (2, 0)])
def test_limits_need_a_token_and_a_set(num_tokens: int, beam_width: int | None) -> None:
    model = additive(np.zeros(num_tokens), whole=1.0)
    with pytest.raises(MetricError, match="at least one token and one set"):
        aopc_limits(model, num_tokens, beam_width=beam_width)
