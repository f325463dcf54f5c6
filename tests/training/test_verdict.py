import dataclasses
import json

import pytest

from diffmask_training.config import FitConfig, from_tables
from diffmask_training.figures import Figures, StateFigures
from diffmask_training.verdict import Verdict, is_collapsed, judge, verdict_from

STATES = ("word_embeddings", "block_1")
CONFIG = FitConfig(margin=0.1)


def _judge(
    config: FitConfig = CONFIG,
    *,
    kept: tuple[float, float] = (0.5, 0.3),
    divergence: tuple[float, float] = (0.05, 0.1),
    multipliers: tuple[float, float] = (20.0, 30.0),
    complement: tuple[float, float] = (0.4, 0.6),
) -> Verdict:
    states = tuple(
        StateFigures(
            state=name,
            kept_share=kept_share,
            agreement=0.9,
            divergence=found,
            excess=found / 2,
            violation_rate=0.2,
            accuracy=None,
            macro_f1=None,
            divergence_quantile=3 * found,
        )
        for name, kept_share, found in zip(STATES, kept, divergence, strict=True)
    )
    return judge(
        Figures(num_texts=10, accuracy=None, macro_f1=None, states=states),
        config,
        multipliers=multipliers,
        output_entropy=0.11,
        complement_agreement=complement,
    )


def test_sound_fit_needs_no_advice() -> None:
    verdict = _judge()
    assert verdict.outcome == "feasible"
    assert verdict.is_sound
    assert verdict.advice == ()
    assert verdict.kept_shares == {"word_embeddings": 0.5, "block_1": 0.3}
    assert verdict.divergence == pytest.approx(0.075)
    assert verdict.complement_agreement == pytest.approx(0.5)
    assert (verdict.margin, verdict.output_entropy) == (0.1, 0.11)


def test_divergence_within_the_tolerance_is_feasible() -> None:
    assert _judge(divergence=(0.05, 0.1249)).outcome == "feasible"
    assert _judge(divergence=(0.05, 0.1251)).outcome == "infeasible"


@pytest.mark.parametrize(
    ("constraint", "divergence", "outcome"),
    [
        ("hinge", 0.04, "feasible"),  # an excess of 0.02, the slack
        ("hinge", 0.06, "infeasible"),
        ("quantile", 0.04, "feasible"),  # a quantile of 0.12
        ("quantile", 0.05, "infeasible"),
    ],
)
def test_each_constraint_is_judged_by_what_it_bounds(
    constraint: str, divergence: float, outcome: str
) -> None:
    config = from_tables(FitConfig, {}, {"margin": 0.1, "constraint": constraint})
    assert _judge(config, divergence=(divergence, divergence)).outcome == outcome


def test_infeasible_at_the_bound_is_told_to_raise_it() -> None:
    verdict = _judge(divergence=(0.05, 0.4), multipliers=(20.0, 200.0))
    assert verdict.states_over_limit == verdict.states_at_bound == ("block_1",)
    assert "raise --max-multiplier (now 200)" in verdict.advice[0]
    assert "block_1" in verdict.advice[0]
    assert "raise --margin (now 0.1 nats)" in verdict.advice[-1]


def test_infeasible_below_the_bound_is_told_to_go_on() -> None:
    verdict = _judge(divergence=(0.05, 0.4), multipliers=(200.0, 20.0))
    assert verdict.states_at_bound == ("word_embeddings",)
    assert "raise --epochs (now 5)" in verdict.advice[0]
    assert not any("--max-multiplier" in line for line in verdict.advice)


@pytest.mark.parametrize(
    ("field", "value", "flag"),
    [("relaxation", "soft", "--relaxation mixed"), ("pacing", False, "--pacing")],
)
def test_infeasible_is_told_what_would_have_helped(
    field: str, value: object, flag: str
) -> None:
    config = from_tables(FitConfig, {}, {"margin": 0.1, field: value})
    advice = _judge(config, divergence=(0.4, 0.4)).advice
    assert any(flag in line for line in advice)
    assert not any(flag in line for line in _judge(divergence=(0.4, 0.4)).advice)


def test_collapsed_open_is_told_to_lower_the_bias() -> None:
    verdict = _judge(kept=(0.999, 0.996))
    assert verdict.outcome == "collapsed open"
    assert "lower --initial-bias (now 3)" in verdict.advice[0]
    assert any("--epochs" in line for line in verdict.advice)
    priced = dataclasses.replace(CONFIG, min_multiplier=4.0)
    assert "--min-multiplier" in _judge(priced, kept=(1.0, 1.0)).advice[-1]


def test_collapsed_shut_within_the_margin_is_told_of_the_baseline() -> None:
    verdict = _judge(kept=(0.5, 0.0))
    assert verdict.outcome == "collapsed shut"
    assert not verdict.is_sound
    assert "--complement-weight" in verdict.advice[0]
    assert any("lower --margin" in line for line in verdict.advice)


def test_collapsed_shut_over_the_margin_is_told_to_raise_the_multiplier() -> None:
    verdict = _judge(kept=(0.5, 0.001), divergence=(0.05, 2.0))
    assert verdict.outcome == "collapsed shut"
    assert "raise --initial-multiplier (now 15)" in verdict.advice[0]


def test_masks_that_tell_nothing_are_told_of_the_complement() -> None:
    verdict = _judge(complement=(0.95, 0.97))
    assert verdict.is_sound
    assert "--complement-weight" in verdict.advice[0]
    asked = dataclasses.replace(CONFIG, complement_weight=0.1)
    assert _judge(asked, complement=(0.95, 0.97)).advice == ()


def test_verdict_survives_json() -> None:
    verdict = _judge(divergence=(0.4, 0.4))
    described = json.loads(json.dumps(dataclasses.asdict(verdict)))
    assert verdict_from(described) == verdict


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ([0.5, 0.004], True),
        ([0.5, 0.006], False),
        ([0.996, 0.999], True),
        ([1.0, 0.9], False),
    ],
)
def test_one_shut_state_or_all_open_ones_are_a_collapse(
    kept: list[float], expected: bool
) -> None:
    assert is_collapsed(kept) is expected
