import pytest
import torch
from cooper.optim.torch_optimizers.nupi_optimizer import nuPI, nuPIInitType

from diffmask_training.lagrangian import Ascent, Multipliers, NuPI, RMSprop


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


def test_ascent_arrives_at_the_known_solution_with_and_without_restarts() -> None:
    # minimise x^2 subject to 1 - x <= 0, descending on both.
    for restarts in (False, True):
        settings = Ascent(rate=0.02, initial=0.0, restarts=restarts)
        multipliers = Multipliers(1, settings)
        x, seen = 0.0, []
        for _ in range(6000):
            x -= 0.02 * (2 * x - multipliers.values[0])
            multipliers.dual_step(0, 1 - x)
            seen.append(x)
        assert sum(seen[-1000:]) / 1000 == pytest.approx(1.0, abs=0.1)


def test_restart_drops_what_has_piled_up_once_the_constraint_is_met() -> None:
    multipliers = Multipliers(1, Ascent(rate=1.0, initial=0.0, lower=0.5))
    for _ in range(10):
        multipliers.dual_step(0, 2.0)
    assert multipliers.values == [20.0]
    multipliers.dual_step(0, -0.001)
    assert multipliers.values == [0.5]


def test_without_restarts_a_met_constraint_only_takes_its_step() -> None:
    multipliers = Multipliers(1, Ascent(rate=1.0, initial=20.0, restarts=False))
    multipliers.dual_step(0, -0.5)
    assert multipliers.values == [19.5]


def test_rmsprop_equals_that_of_torch() -> None:
    ours = Multipliers(1, RMSprop(rate=0.3, initial=5.0))
    theirs = torch.nn.Parameter(torch.tensor([5.0], dtype=torch.float64))
    optimizer = torch.optim.RMSprop([theirs], lr=0.3, alpha=0.99, maximize=True)
    for violation in (0.3, -0.1, 0.5, 0.2, -0.4, 0.05):
        ours.dual_step(0, violation)
        theirs.grad = torch.tensor([violation], dtype=torch.float64)
        optimizer.step()
    assert ours.values[0] == pytest.approx(theirs.item(), abs=1e-9)


def test_published_multiplier_collapses_on_its_first_step() -> None:
    multipliers = Multipliers(1, RMSprop())
    multipliers.dual_step(0, -1e-4)  # ever so feasible, as all gates are open
    assert multipliers.values == [0.0]


def test_lookahead_goes_half_of_the_way_back() -> None:
    settings = Ascent(rate=1.0, initial=1.0, restarts=False)
    multipliers = Multipliers(2, settings, lookahead=2)
    for _ in range(2):
        multipliers.dual_step(0, 3.0)
        multipliers.end_round()
    assert multipliers.values == [4.0, 1.0]  # halfway from 1 to 7
    for _ in range(2):
        multipliers.dual_step(0, 3.0)
        multipliers.end_round()
    assert multipliers.values == [7.0, 1.0]  # halfway from 4 to 10


def test_lookahead_survives_a_round_trip() -> None:
    settings = Ascent(rate=1.0, initial=1.0, restarts=False)
    first = Multipliers(1, settings, lookahead=2)
    second = Multipliers(1, settings, lookahead=2)
    first.dual_step(0, 3.0)
    first.end_round()
    second.load_state_dict(first.state_dict())
    for multipliers in (first, second):
        multipliers.dual_step(0, 3.0)
        multipliers.end_round()
    assert second.values == first.values == [4.0]
