import numpy as np
import pytest
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.metrics.soft_erasure import SoftPredict, soft_erasure


def linear(weights: NDArray[np.float64], bias: float) -> SoftPredict:
    """Embeddings of endless width: the share kept is the chance itself."""

    def predict(
        retain: NDArray[np.float64], generator: np.random.Generator
    ) -> NDArray[np.float64]:
        chance = bias + retain @ weights
        return np.stack([1 - chance, chance], axis=-1)

    return predict


def drawn(weights: NDArray[np.float64], bias: float) -> SoftPredict:
    """Embeddings of one coordinate: each is kept or not."""

    def predict(
        retain: NDArray[np.float64], generator: np.random.Generator
    ) -> NDArray[np.float64]:
        chance = bias + (generator.random(retain.shape) < retain) @ weights
        return np.stack([1 - chance, chance], axis=-1)

    return predict


WEIGHTS = np.array([0.5, 0.25])


def test_soft_figures_worked_by_hand() -> None:
    figures = soft_erasure(
        linear(WEIGHTS, 0.125),
        np.array([0.75, 0.5]),
        draws=1,
        generator=np.random.default_rng(0),
    )
    # f_c is 7/8 on the whole and 1/8 on nothing: all is worth 3/4. Kept softly it is
    # 1/8 + 3/8 + 1/8 = 5/8, removed softly 1/8 + 1/8 + 1/8 = 3/8.
    assert figures is not None
    assert figures.sufficiency == pytest.approx(1 - (7 / 8 - 5 / 8) / (3 / 4))
    assert figures.comprehensiveness == pytest.approx((7 / 8 - 3 / 8) / (3 / 4))


def test_scores_of_zero_and_one_erase_hard() -> None:
    figures = soft_erasure(
        drawn(WEIGHTS, 0.125),
        np.array([1.0, 0.0]),
        draws=3,
        generator=np.random.default_rng(0),
    )
    assert figures is not None
    assert figures.sufficiency == pytest.approx(1 - 0.25 / 0.75)
    assert figures.comprehensiveness == pytest.approx(0.5 / 0.75)


def test_mean_of_draws_meets_its_expectation() -> None:
    figures = soft_erasure(
        drawn(WEIGHTS, 0.125),
        np.array([0.75, 0.5]),
        draws=4000,
        generator=np.random.default_rng(0),
    )
    # The model is linear and never rises above the whole, so the hinge changes nothing.
    assert figures is not None
    assert figures.sufficiency == pytest.approx(2 / 3, abs=0.02)
    assert figures.comprehensiveness == pytest.approx(2 / 3, abs=0.02)


def test_equal_seeds_give_equal_figures() -> None:
    def once(seed: int) -> object:
        return soft_erasure(
            drawn(WEIGHTS, 0.125),
            np.array([0.75, 0.5]),
            draws=5,
            generator=np.random.default_rng(seed),
        )

    assert once(1) == once(1)
    assert once(1) != once(2)


def test_text_worth_nothing_has_no_soft_figures() -> None:
    generator = np.random.default_rng(0)
    model = linear(np.zeros(2), 0.75)
    assert soft_erasure(model, np.ones(2), draws=1, generator=generator) is None


@pytest.mark.parametrize(("score", "draws"), [(1.5, 1), (-0.1, 1), (0.5, 0)])
def test_scores_must_be_chances(score: float, draws: int) -> None:
    with pytest.raises(MetricError, match=r"scores in \[0, 1\] and at least one draw"):
        soft_erasure(
            linear(np.ones(1), 0.0),
            np.array([score]),
            draws=draws,
            generator=np.random.default_rng(0),
        )
