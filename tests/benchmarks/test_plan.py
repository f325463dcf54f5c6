"""What is sent when."""

import numpy as np
import pytest

from benchmarks.traffic.plan import Mix, draw_plan, poisson_arrivals
from benchmarks.traffic.targets import EXPLAIN
from diffmask_service.wire.pb import explain_pb2 as pb


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_arrivals_are_those_of_a_poisson_process() -> None:
    arrivals = poisson_arrivals(200.0, seconds=100.0, generator=generator())
    gaps = np.diff(arrivals)
    # The number has mean and variance 20,000; gaps are exponential, so their standard
    # deviation equals their mean and a share e^-1 of them exceeds it.
    assert abs(len(arrivals) - 20_000) < 5 * 20_000**0.5
    assert gaps.mean() == pytest.approx(1 / 200, rel=0.05)
    assert gaps.std() == pytest.approx(1 / 200, rel=0.05)
    assert (gaps > 1 / 200).mean() == pytest.approx(np.exp(-1), abs=0.02)


def test_arrivals_ascend_and_end_with_the_run() -> None:
    arrivals = poisson_arrivals(50.0, seconds=2.0, generator=generator())
    assert list(arrivals) == sorted(arrivals)
    assert arrivals[0] > 0
    assert arrivals[-1] < 2.0


def test_the_same_seed_gives_the_same_plan() -> None:
    plans = [
        draw_plan([0.0, 0.5], mix=Mix(), target=EXPLAIN, generator=generator(seed))
        for seed in (3, 3, 4)
    ]
    assert plans[0] == plans[1] != plans[2]


def test_a_plan_holds_the_shares_of_its_mix() -> None:
    mix = Mix(predicted_share=0.5, verified_share=0.25, cancelled_share=0.1)
    plan = draw_plan([0.0] * 2000, mix=mix, target=EXPLAIN, generator=generator())
    requests = [pb.ExplainRequest.FromString(call.message) for call in plan]
    predicted = sum(not request.options.gates for request in requests)
    verified = sum(request.options.HasField("verify") for request in requests)
    cancelled = [call.cancel_after_seconds for call in plan]
    assert predicted / 2000 == pytest.approx(0.5, abs=0.05)
    assert verified / 2000 == pytest.approx(0.25, abs=0.05)
    assert sum(c is not None for c in cancelled) / 2000 == pytest.approx(0.1, abs=0.03)
    assert all(0 <= c <= mix.cancel_within_seconds for c in cancelled if c is not None)
    assert [call.num_texts for call in plan] == [len(r.inputs) for r in requests]
