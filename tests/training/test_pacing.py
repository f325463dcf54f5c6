import pytest
import torch

from diffmask_training.figures import Figures, StateFigures
from diffmask_training.objective import Constraint
from diffmask_training.pacing import Pacing

LIMIT = 0.1


def _pacing(num_states: int = 4, aim: float = 0.5) -> Pacing:
    constraint = Constraint(kind="mean", margin=LIMIT, slack=0.0)
    return Pacing(constraint, aim=aim, tolerance=0.25, num_states=num_states)


def _figures(divergences: list[float], kept_share: float = 0.5) -> Figures:
    states = tuple(
        StateFigures(
            state=str(number),
            kept_share=kept_share,
            agreement=1.0,
            divergence=value,
            excess=value,
            violation_rate=0.0,
            accuracy=None,
            macro_f1=None,
        )
        for number, value in enumerate(divergences)
    )
    return Figures(num_texts=1, accuracy=None, macro_f1=None, states=states)


def test_aim_moves_by_the_ratio_of_limit_to_validation() -> None:
    pacing = _pacing()
    pacing.update(_figures([LIMIT, 1.25 * LIMIT, 9.0, 0.0]))
    expected = [0.5, 0.4, 0.5 * 2 / 3, 0.75]
    assert pacing.aims == pytest.approx([share * LIMIT for share in expected])


def test_aim_stays_between_a_tenth_of_the_limit_and_the_limit() -> None:
    pacing = _pacing()
    for _ in range(20):
        pacing.update(_figures([9.0, 0.0, 9.0, 0.0]))
    assert pacing.aims == pytest.approx([0.1 * LIMIT, LIMIT] * 2)


def test_settled_state_is_visited_less_until_it_moves() -> None:
    pacing = _pacing(num_states=2)
    pacing.update(_figures([LIMIT, 2 * LIMIT], kept_share=0.5))
    assert pacing.weights == [1.0, 1.0]
    pacing.update(_figures([LIMIT, 2 * LIMIT], kept_share=0.505))
    assert pacing.weights == [0.25, 1.0]  # the second breaks the limit
    pacing.update(_figures([LIMIT, 2 * LIMIT], kept_share=0.48))
    assert pacing.weights == [1.0, 1.0]


@pytest.mark.parametrize("num_rounds", [1, 2, 4, 5])
def test_equal_states_are_dealt_equally_many_texts(num_rounds: int) -> None:
    dealt = _pacing().deal(8, num_rounds, torch.Generator().manual_seed(0))
    assert list(dealt) == [0, 1, 2, 3]
    assert [len(texts) for texts in dealt.values()] == [2 * num_rounds] * 4
    every = torch.cat(list(dealt.values()))
    assert torch.equal(every.bincount(), torch.full((8,), num_rounds))


def test_texts_are_dealt_by_weight_to_within_one() -> None:
    pacing = _pacing()
    pacing.weights = [1.0, 0.25, 1.0, 0.25]
    generator = torch.Generator().manual_seed(0)
    sums = torch.zeros(4)
    for _ in range(200):
        dealt = pacing.deal(8, 4, generator)
        sizes = torch.tensor([float(len(dealt[index])) for index in range(4)])
        assert bool(((sizes - torch.tensor([12.8, 3.2, 12.8, 3.2])).abs() < 1).all())
        sums += sizes
    assert torch.allclose(sums / 200, torch.tensor([12.8, 3.2, 12.8, 3.2]), atol=0.1)


def test_one_state_s_texts_differ() -> None:
    dealt = _pacing().deal(16, 2, torch.Generator().manual_seed(3))
    assert all(len(set(texts.tolist())) == len(texts) for texts in dealt.values())


def test_state_survives_a_round_trip() -> None:
    pacing, restored = _pacing(), _pacing()
    pacing.update(_figures([LIMIT, 9.0, 0.0, LIMIT]))
    pacing.update(_figures([LIMIT, 9.0, 0.0, LIMIT]))
    restored.load_state_dict(pacing.state_dict())
    assert restored.state_dict() == pacing.state_dict()
    assert restored.weights == [0.25, 1.0, 0.25, 0.25]
