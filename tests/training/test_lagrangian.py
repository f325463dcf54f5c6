import pytest
import torch
from cooper.optim.torch_optimizers.nupi_optimizer import nuPI, nuPIInitType

from diffmask_training.lagrangian import Multipliers, NuPI


def test_convex_problem_arrives_at_its_known_solution() -> None:
    # minimise x^2 subject to 1 - x <= 0: x = 1 with multiplier 2.
    multipliers = Multipliers(1, NuPI(integral=0.05, proportional=1.0, initial=0.0))
    x = 3.0
    for _ in range(4000):
        x -= 0.02 * (2 * x - multipliers.values[0])
        multipliers.dual_step(0, 1 - x)
    assert x == pytest.approx(1.0, abs=1e-3)
    assert multipliers.values[0] == pytest.approx(2.0, abs=1e-3)


def test_inactive_constraint_leaves_no_multiplier() -> None:
    # minimise (x - 3)^2 subject to 1 - x <= 0: the constraint does not bind.
    multipliers = Multipliers(1, NuPI(integral=0.05, initial=5.0))
    x = 0.0
    for _ in range(4000):
        x -= 0.02 * (2 * (x - 3) - multipliers.values[0])
        multipliers.dual_step(0, 1 - x)
    assert x == pytest.approx(3.0, abs=1e-3)
    assert multipliers.values[0] == 0.0


def test_controller_equals_that_of_an_independent_library() -> None:
    settings = NuPI(integral=0.5, proportional=3.0, smoothing=0.8, initial=2.0)
    ours = Multipliers(1, settings)
    ours.running[0] = 0.0  # the library starts its running mean at zero
    theirs = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = nuPI(
        [theirs],
        lr=0.5,
        Kp=torch.tensor([6.0]),
        Ki=torch.tensor([1.0]),
        ema_nu=0.8,
        init_type=nuPIInitType.ZEROS,
        maximize=True,
    )
    violations = [0.3, -0.1, 0.5, 0.2, -0.4, 0.05]
    for violation in violations:
        ours.dual_step(0, violation)
        theirs.grad = torch.tensor([violation])
        optimizer.step()
    assert ours.values[0] == pytest.approx(theirs.item(), abs=1e-6)


def test_multiplier_stays_within_its_bounds() -> None:
    multipliers = Multipliers(1, NuPI(initial=1.0, upper=4.0))
    for _ in range(100):
        multipliers.dual_step(0, 1.0)
    assert multipliers.values == [4.0]
    for _ in range(100):
        multipliers.dual_step(0, -1.0)
    assert multipliers.values == [0.0]


def test_multiplier_keeps_a_least_price() -> None:
    multipliers = Multipliers(1, NuPI(initial=3.0, lower=2.0))
    for _ in range(100):
        multipliers.dual_step(0, -1.0)
    assert multipliers.values == [2.0]


def test_visit_of_one_state_leaves_the_others_alone() -> None:
    multipliers = Multipliers(3, NuPI(initial=1.0))
    multipliers.dual_step(1, 0.5)
    assert multipliers.values[0] == multipliers.values[2] == 1.0
    assert multipliers.running == [None, 0.5, None]


def test_state_survives_a_round_trip() -> None:
    multipliers = Multipliers(2, NuPI())
    multipliers.dual_step(0, 0.2)
    restored = Multipliers(2, NuPI())
    restored.load_state_dict(multipliers.state_dict())
    assert restored.values == multipliers.values
    assert restored.running == multipliers.running
