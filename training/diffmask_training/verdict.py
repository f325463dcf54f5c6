"""How a fit ended, in one value: sound or not, by which figures, and what to change.

A pure function of figures and settings. Training that did not work has to say so, and a
person who has never seen a Lagrange multiplier should know what to try next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from diffmask_training.config import FitConfig
from diffmask_training.figures import Figures

Outcome = Literal["feasible", "infeasible", "collapsed open", "collapsed shut"]
# A state that keeps less than this share of its tokens, or drops less, says nothing.
COLLAPSED_SHARE = 0.005
# Where the removed part gives nearly every prediction too, masks do not tell what was
# needed from what was not.
_TELLING_AGREEMENT = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a fit ended, on the validation texts under hard masks.

    Attributes:
        outcome: Feasible, or how it failed. `collapsed open` drops hardly a token in
            any state, `collapsed shut` keeps hardly one in some state.
        margin: Allowed divergence, nats.
        output_entropy: Mean entropy of the model's own predictions, nats.
        kept_shares: Share of the tokens kept, by state.
        agreement: Share of predictions kept, mean over states.
        divergence: Mean over states, nats.
        violation_rate: Share of texts over the margin, mean over states.
        complement_agreement: Share of predictions that the removed part alone gives
            too, mean over states.
        states_over_limit: States whose constraint does not hold.
        states_at_bound: States whose multiplier has reached its largest value.
        advice: What to change, most promising first; empty where nothing need be.
    """

    outcome: Outcome
    margin: float
    output_entropy: float
    kept_shares: Mapping[str, float]
    agreement: float
    divergence: float
    violation_rate: float
    complement_agreement: float
    states_over_limit: tuple[str, ...]
    states_at_bound: tuple[str, ...]
    advice: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether the probe may be exported."""
        return self.outcome == "feasible"


def judge(
    figures: Figures,
    config: FitConfig,
    *,
    multipliers: Sequence[float],
    output_entropy: float,
    complement_agreement: Sequence[float],
) -> Verdict:
    """Judge a fit.

    Args:
        figures: Hard masks on the validation texts.
        config: Settings of the fit; the margin is resolved.
        multipliers: Of each state, at the end.
        output_entropy: Mean entropy of the model's own predictions, nats.
        complement_agreement: Of each state.
    """
    over = states_over_limit(figures, config)
    at_bound = tuple(
        state.state
        for state, value in zip(figures.states, multipliers, strict=True)
        if value >= config.max_multiplier
    )
    outcome = _outcome([s.kept_share for s in figures.states], over)
    complement = sum(complement_agreement) / len(complement_agreement)
    return Verdict(
        outcome=outcome,
        margin=config.margin,
        output_entropy=output_entropy,
        kept_shares={s.state: s.kept_share for s in figures.states},
        agreement=figures.mean("agreement"),
        divergence=figures.mean("divergence"),
        violation_rate=figures.mean("violation_rate"),
        complement_agreement=complement,
        states_over_limit=over,
        states_at_bound=at_bound,
        advice=_advice(outcome, config, over, at_bound, complement),
    )


def states_over_limit(figures: Figures, config: FitConfig) -> tuple[str, ...]:
    """Return the states whose constraint does not hold, the tolerance counted in."""
    share_by_state = shares_of_limit(figures, config)
    most = 1 + config.tolerance
    return tuple(name for name, share in share_by_state.items() if share > most)


def shares_of_limit(figures: Figures, config: FitConfig) -> dict[str, float]:
    """Return what each state uses of the limit, as a share of it."""
    constraint = config.limit()
    # A slack of nothing allows no excess at all.
    limit = max(constraint.limit, 1e-12)
    return {s.state: constraint.found(s) / limit for s in figures.states}


def is_collapsed(kept_shares: Sequence[float]) -> bool:
    """Return whether some state keeps hardly a token, or none drops any."""
    return _outcome(kept_shares, ()) != "feasible"


def verdict_from(described: Mapping[str, Any]) -> Verdict:
    """Read a verdict back from JSON."""
    tuples = {
        name: tuple(described[name])
        for name in ("states_over_limit", "states_at_bound", "advice")
    }
    return Verdict(**{**described, **tuples})


def _outcome(kept_shares: Sequence[float], over: Sequence[str]) -> Outcome:
    if min(kept_shares) < COLLAPSED_SHARE:
        return "collapsed shut"
    if min(kept_shares) > 1 - COLLAPSED_SHARE:
        return "collapsed open"
    return "infeasible" if over else "feasible"


def _advice(
    outcome: Outcome,
    config: FitConfig,
    over: Sequence[str],
    at_bound: Sequence[str],
    complement: float,
) -> tuple[str, ...]:
    if outcome == "collapsed open":
        return _when_open(config)
    if outcome == "collapsed shut":
        return _when_shut(config, over)
    if outcome == "infeasible":
        return _when_infeasible(config, over, at_bound)
    if complement >= _TELLING_AGREEMENT and config.complement_weight == 0:
        return (
            "what the masks remove gives nearly every prediction by itself: set"
            " --complement-weight (0.1, say), or accept that the texts say everything"
            " twice",
        )
    return ()


def _when_open(config: FitConfig) -> tuple[str, ...]:
    return (
        f"lower --initial-bias (now {config.initial_bias:g}): gates that start wide"
        " open hardly feel a gradient",
        f"raise --epochs (now {config.epochs}) or --learning-rate (now"
        f" {config.learning_rate:g})",
        f"raise --margin (now {config.margin:g} nats): within so little, nothing may"
        " be masked",
        *(
            ("lower --min-multiplier: divergence has a price even within the margin",)
            if config.min_multiplier > 0
            else ()
        ),
    )


def _when_shut(config: FitConfig, over: Sequence[str]) -> tuple[str, ...]:
    if over:
        return (
            f"raise --initial-multiplier (now {config.initial_multiplier:g}): gates"
            " closed before the constraint was felt",
            f"lower --learning-rate (now {config.learning_rate:g})",
            f"raise --energy-weight (now {config.energy_weight:g}), which keeps shut"
            " gates within reach",
        )
    return (
        "a baseline has come to stand for the whole text: set --complement-weight (0.1,"
        " say), or --baseline-learning-rate 0, which keeps it saying nothing"
        f" (now {config.baseline_learning_rate:g})",
        f"lower --margin (now {config.margin:g} nats): even an empty text may keep"
        " within it",
        "check that the classifier does not give every text the same label",
    )


def _when_infeasible(
    config: FitConfig, over: Sequence[str], at_bound: Sequence[str]
) -> tuple[str, ...]:
    advice = []
    bounded = [state for state in over if state in at_bound]
    if bounded:
        advice.append(
            f"raise --max-multiplier (now {config.max_multiplier:g}): it holds back"
            f" {', '.join(bounded)}"
        )
    else:
        advice.append(
            f"raise --epochs (now {config.epochs}): the multipliers of"
            f" {', '.join(over)} have room to rise and had no time to"
        )
    if config.relaxation == "soft":
        advice.append(
            "train on hard masks too, with --relaxation mixed: soft gates let through"
            " what a hard mask stops"
        )
    if not config.pacing:
        advice.append("let the aims follow validation, with --pacing")
    else:
        advice.append(f"lower --aim (now {config.aim:g}), so that training asks more")
    advice.append(f"allow more: raise --margin (now {config.margin:g} nats)")
    return tuple(advice)
