"""What a report holds: figures, and what they were measured on."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from diffmask_training.faithfulness.complexity import Complexity
from diffmask_training.faithfulness.masks import MaskFigures
from diffmask_training.faithfulness.rankings import RankingFigure
from diffmask_training.figures import Figures
from diffmask_training.leakage.verdicts import Check
from diffmask_training.metrics.intervals import Comparison
from diffmask_training.probes import ProbeKind

SCHEMA = 1
Standing = Literal["better", "no different", "worse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What was measured, on what, and with what.

    Attributes:
        checkpoint: Directory of the classifier.
        probes: Directory of its probes, or the bundle.
        labels: Label names in index order.
        states: Names of the states, index 0 first.
        margin: Allowed divergence of the input probe's fit, nats.
        num_test_texts: Texts of the test split.
        num_texts: Of these, drawn for the figures with intervals.
        seed: Of that draw, of random orders and masks, and of resamples.
        random_orders: Random orders of each text behind a control.
        is_feasible: By kind, whether the fit kept to its margin.
        versions: Of packages, by name.
        config: Settings of the evaluation.
    """

    checkpoint: str
    probes: str
    labels: tuple[str, ...]
    states: tuple[str, ...]
    margin: float
    num_test_texts: int
    num_texts: int
    seed: int
    random_orders: int
    is_feasible: Mapping[ProbeKind, bool]
    versions: Mapping[str, str]
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleToken:
    """One token of an example.

    Attributes:
        text: As the vocabulary spells it.
        score: Mean over states of its input gates, in [0, 1].
        gates: `[layers]` Its input gates, in [0, 1].
        is_special: Whether the tokenizer put it in.
        is_kept: Whether the hard mask of the score keeps it.
    """

    text: str
    score: float
    gates: tuple[float, ...]
    is_special: bool
    is_kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One text, its explanation, and what the model says of the kept tokens alone.

    Attributes:
        tokens: Its tokens.
        label: The predicted label.
        probability: Its probability, in [0, 1].
        kept_probability: The same from the kept tokens alone.
        divergence: From the prediction of the whole to that of the kept tokens, nats.
        is_agreeing: Whether the kept tokens alone give the label.
    """

    tokens: tuple[ExampleToken, ...]
    label: str
    probability: float
    kept_probability: float
    divergence: float
    is_agreeing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that was measured.

    Attributes:
        provenance: On what and with what.
        figures: By kind: the hard masks of every state on all test texts.
        masks: The same on the drawn texts, with intervals and random masks; None when
            no texts were drawn, and so for the rest.
        rankings: Explanations as orders of words.
        complexity: How much explanations point at.
        leakage: Tests for masks that give the label away; None when not asked for.
        examples: The drawn texts that the masks explain worst, then some others.
    """

    provenance: Provenance
    figures: Mapping[ProbeKind, Figures]
    masks: tuple[MaskFigures, ...] | None = None
    rankings: tuple[RankingFigure, ...] | None = None
    complexity: Complexity | None = None
    leakage: tuple[Check, ...] | None = None
    examples: tuple[Example, ...] = ()


def report_json(report: Report) -> str:
    """Return a report as JSON, with the number of its schema."""
    content = {"schema": SCHEMA, **dataclasses.asdict(report)}
    return json.dumps(content, indent=2, default=str, allow_nan=False) + "\n"


def standing(comparison: Comparison, *, is_higher_better: bool) -> Standing:
    """Return how a figure stands to its control, by the interval of the difference."""
    gain = comparison.gain
    if gain.low <= 0 <= gain.high:
        return "no different"
    return "better" if (gain.low > 0) == is_higher_better else "worse"
