"""From measured seconds to medians, by arithmetic."""

import pytest

from benchmarks import explainers, precisions, server_cpu, start, train_step
from benchmarks.explainers import Rates
from benchmarks.precisions import Cost
from benchmarks.start import Start


def test_a_start_is_summed_up_by_its_medians() -> None:
    starts = [
        Start(wall_seconds=wall, cpu_seconds=cpu)
        for wall, cpu in ((3.0, 1.0), (1.0, 9.0), (2.0, 4.0))
    ]
    figures = start.summarise(starts)
    assert (figures["wall_seconds"], figures["cpu_seconds"]) == (2.0, 4.0)
    assert [each["wall_seconds"] for each in figures["starts"]] == [3.0, 1.0, 2.0]


def test_graphs_are_compared_round_by_round() -> None:
    # The machine is twice as slow in the second round, for both graphs.
    rounds = [
        {
            "fp32": Cost(wall_seconds=0.3 * slow, cpu_seconds=0.2 * slow),
            "int8": Cost(wall_seconds=0.1 * slow, cpu_seconds=0.05 * slow),
        }
        for slow in (1, 2, 1)
    ]
    found = precisions.summarise(rounds, num_tokens=16, reference="fp32")
    assert [row["graph"] for row in found] == ["fp32", "int8"]
    assert [row["times_by_clock"] for row in found] == pytest.approx([1, 3])
    assert [row["times_by_cpu"] for row in found] == pytest.approx([1, 4])
    assert [row["texts_per_cpu_second"] for row in found] == pytest.approx([5, 20])


def test_the_ratio_of_explainers_is_that_of_neighbouring_runs() -> None:
    rounds = [
        Rates(engine=100.0, captum=1.0),
        Rates(engine=50.0, captum=0.1),
        Rates(engine=80.0, captum=0.4),
    ]
    figures = explainers.summarise(rounds)
    assert figures == {
        "engine_per_second": 80.0,
        "captum_per_second": 0.4,
        "ratio": 200.0,
    }


def test_the_cost_of_a_server_is_held_against_the_engine_round_by_round() -> None:
    rounds = [
        server_cpu.Round(bare_seconds=bare, server_seconds=server)
        for bare, server in ((1.0, 1.5), (2.0, 2.5), (4.0, 6.0))
    ]
    figures = server_cpu.summarise(rounds)
    assert figures == {"bare_seconds": 2.0, "server_seconds": 2.5, "ratio": 1.5}


def test_steps_of_a_fit_are_compared_round_by_round() -> None:
    def cost(seconds: float) -> train_step.Cost:
        return train_step.Cost(wall_seconds=seconds, cpu_seconds=seconds / 2)

    # The machine is twice as slow in the second round, for both loops.
    rounds = [
        train_step.Round(ours=cost(0.5 * slow), published=cost(2.0 * slow))
        for slow in (1, 2, 1)
    ]
    assert train_step.summarise(rounds) == {
        "ours_cpu_seconds": 0.25,
        "published_cpu_seconds": 1.0,
        "ratio": 0.25,
        "cpu_ratio": 0.25,
    }
