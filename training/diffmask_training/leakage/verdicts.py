"""One check, its figure, its threshold and the verdict."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffmask_training.metrics.intervals import Estimate, estimate
from diffmask_training.probes import ProbeKind

# `unsure` is a figure over its threshold by less than its interval.
Verdict = Literal["pass", "unsure", "leak"]
Test = Literal["mask_only", "evaluator_gap", "encode_meter", "all_baseline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One test on the masks of one state.

    Attributes:
        test: Which.
        kind: Of the gates.
        state: Whose masks; `score` for those of the mean over states.
        figure: What was measured, with its interval.
        threshold: What it may be at most.
        verdict: Follows from both.
        detail: The numbers behind the figure, in words.
    """

    test: Test
    kind: str
    state: str
    figure: Estimate
    threshold: float
    verdict: Verdict
    detail: str


def judge(figure: Estimate, threshold: float) -> Verdict:
    """Return the verdict on a figure that should be small.

    Args:
        figure: Measured, with its interval.
        threshold: What it may be at most.

    Returns:
        `leak` when even the lower end of the interval is over the threshold, `pass`
        when the figure itself is not.
    """
    if figure.low > threshold:
        return "leak"
    return "pass" if figure.mean <= threshold else "unsure"


def judge_mean(
    values: NDArray[np.float64],
    *,
    test: Test,
    state: str,
    threshold: float,
    detail: str,
    seed: int,
    kind: ProbeKind = "input",
) -> Check:
    """Return the check whose figure is the mean of one value a text.

    Args:
        values: `[texts]` float64.
        test: Which.
        state: Whose masks.
        threshold: What the mean may be at most.
        detail: The numbers behind it, in words.
        seed: Of the resamples behind its interval.
        kind: Of the gates.
    """
    figure = estimate(values.tolist(), generator=np.random.default_rng(seed))
    return Check(
        test=test,
        kind=kind,
        state=state,
        figure=figure,
        threshold=threshold,
        verdict=judge(figure, threshold),
        detail=detail,
    )


def overall(checks: tuple[Check, ...]) -> Verdict:
    """Return the worst of the verdicts."""
    verdicts = {check.verdict for check in checks}
    if "leak" in verdicts:
        return "leak"
    return "unsure" if "unsure" in verdicts else "pass"
