import copy
import dataclasses

import pytest
import torch

from diffmask_training.config import FitConfig, from_tables
from diffmask_training.primal import Primal, PrimalSettings
from diffmask_training.probes import Probe, ProbeShape

ADAMW = FitConfig().descent(100)


def _probe() -> Probe:
    torch.manual_seed(0)
    shape = ProbeShape(kind="hidden", num_states=2, hidden_size=4, bottleneck_size=2)
    return Probe(shape)


def _ask(probe: Probe, size: float) -> None:
    for parameter in probe.parameters():
        parameter.grad = torch.full_like(parameter, size)


@pytest.mark.parametrize(
    ("warmup_steps", "final_rate", "expected"),
    [
        (0, 0.05, {0: 1.0, 50: 0.525, 100: 0.05, 120: 0.05}),
        (10, 1.0, {0: 0.1, 4: 0.5, 9: 1.0, 99: 1.0}),
        (10, 0.0, {4: 0.5 * 0.96, 50: 0.5}),
    ],
)
def test_learning_rate_rises_and_falls(
    warmup_steps: int, final_rate: float, expected: dict[int, float]
) -> None:
    settings = dataclasses.replace(
        ADAMW, warmup_steps=warmup_steps, final_rate=final_rate
    )
    assert {step: settings.rate(step) for step in expected} == pytest.approx(expected)


def test_clipping_holds_each_network_to_the_largest_norm() -> None:
    probe = _probe()
    primal = Primal(probe, dataclasses.replace(ADAMW, max_gradient_norm=0.5))
    _ask(probe, 3.0)
    norms = primal.clip()
    assert norms.shape == (2,)
    assert float(norms.min()) > 0.5
    for index in range(2):
        for layer in probe.layers(index):
            grads = [p.grad for p in layer.parameters() if p.grad is not None]
            norm = torch.cat([g.flatten() for g in grads]).norm()
            assert norm.item() == pytest.approx(0.5, abs=1e-3)


def test_no_clipping_leaves_gradients_alone() -> None:
    probe = _probe()
    primal = Primal(probe, dataclasses.replace(ADAMW, max_gradient_norm=0.0))
    _ask(probe, 3.0)
    primal.clip()
    gradients = [p.grad for p in primal.parameters if p.grad is not None]
    assert len(gradients) == len(primal.parameters)
    assert all(torch.equal(g, torch.full_like(g, 3.0)) for g in gradients)


def test_norm_shows_a_gradient_that_is_not_finite() -> None:
    probe = _probe()
    primal = Primal(probe, ADAMW)
    _ask(probe, 0.1)
    weight = next(iter(probe.layers(1)[0].parameters()))
    assert weight.grad is not None
    weight.grad.view(-1)[0] = torch.nan
    assert primal.clip().isfinite().tolist() == [True, False]


@pytest.mark.parametrize("name", ["bias", "baselines"])
def test_norm_shows_what_would_stop_the_optimizer_for_good(name: str) -> None:
    probe = _probe()
    primal = Primal(probe, ADAMW)
    _ask(probe, 0.1)
    gradient = probe.get_parameter(name).grad
    assert gradient is not None
    gradient[1] = 1e25  # finite, and its square is not
    assert primal.clip().isfinite().tolist() == [True, False]


def _published(lookahead: int) -> PrimalSettings:
    config = from_tables(FitConfig, {}, {"preset": "paper", "lookahead": lookahead})
    settings: PrimalSettings = config.descent(10)
    return dataclasses.replace(settings, warmup_steps=0)


def test_lookahead_averages_with_where_it_was() -> None:
    plain, ahead = _probe(), _probe()
    start = [p.detach().clone() for p in plain.parameters()]
    for probe, lookahead in ((plain, 0), (ahead, 3)):
        primal = Primal(probe, _published(lookahead))
        assert isinstance(primal.optimizer, torch.optim.RMSprop)
        for size in (0.3, -0.2, 0.5):
            _ask(probe, size)
            primal.step()
    for first, far, half in zip(
        start, plain.parameters(), ahead.parameters(), strict=True
    ):
        assert torch.allclose(half, (first + far) / 2, atol=1e-7)


def test_state_survives_a_round_trip() -> None:
    probes = _probe(), _probe()
    first, second = (Primal(probe, _published(3)) for probe in probes)
    for size in (0.3, -0.2):
        _ask(probes[0], size)
        first.step()
    probes[1].load_state_dict(probes[0].state_dict())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for probe, primal in zip(probes, (first, second), strict=True):
        _ask(probe, 0.4)
        primal.step()
    for one, other in zip(*(p.parameters() for p in probes), strict=True):
        assert torch.equal(one, other)
