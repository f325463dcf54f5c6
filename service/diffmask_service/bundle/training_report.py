"""The training report of a manifest: how the fits of its probes ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
# Up to what every reader of JSON holds exactly.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateReport:
    """One state's probe with hard masks, on the report texts.

    Attributes:
        state: Name of the state.
        kept_share: Share of tokens kept, special tokens counted, in [0, 1].
        agreement: Share of predictions kept, in [0, 1]; of words with the same label
            where each word has one.
        divergence: Mean Kullback-Leibler divergence, nats.
        violation_rate: Share of texts with a divergence over the margin, in [0, 1].
        accuracy: Accuracy under the mask, in [0, 1]; None without labels, or where a
            value is predicted.
        macro_f1: Macro F1 under the mask, in [0, 1]; None without labels, or where no
            label is predicted.
        multiplier: Lagrange multiplier at the end of the fit, >= 0.
        scores: The task's own figures under the mask, by name.
    """

    state: str
    kept_share: Share
    agreement: Share
    divergence: float
    violation_rate: Share
    accuracy: Share | None
    macro_f1: Share | None
    multiplier: float
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitVerdict:
    """How a fit ended, on its validation texts under hard masks.

    Attributes:
        outcome: `feasible`, `infeasible`, `collapsed open` (drops hardly a token) or
            `collapsed shut` (some state keeps hardly one).
        margin: Allowed divergence, nats.
        output_entropy: Mean entropy of the model's own predictions, nats.
        kept_shares: Share of the tokens kept, in [0, 1], by state.
        agreement: Share of predictions kept, mean over states, in [0, 1].
        divergence: Mean over states, nats.
        violation_rate: Share of texts over the margin, mean over states, in [0, 1].
        complement_agreement: Share of predictions that the removed part alone gives
            too, mean over states, in [0, 1].
        states_over_limit: States whose constraint does not hold.
        states_at_bound: States whose multiplier has reached its largest value.
        advice: What whoever fits again should change.
    """

    outcome: str
    margin: float
    output_entropy: float
    kept_shares: Mapping[str, Share]
    agreement: Share
    divergence: float
    violation_rate: Share
    complement_agreement: Share
    states_over_limit: tuple[str, ...]
    states_at_bound: tuple[str, ...]
    advice: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateLeakage:
    """How far masks of one state tell the label by what is no reason for it.

    Attributes:
        told_share: Share of the predicted labels that can be told from the shape of
            the masks alone, without a word of the text, in [0, 1]: by a classifier
            fitted on the shapes of other texts.
        empty_label: What the model says most when every token is replaced by the
            baseline.
        empty_probability: The mean probability of that label then, in [0, 1].
    """

    told_share: Share
    empty_label: str
    empty_probability: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakageReport:
    """Whether masks give labels away, on the report texts.

    Attributes:
        majority_share: Share of the most frequent predicted label, which is what
            guessing tells, in [0, 1].
        states: By name of the state.
    """

    majority_share: Share
    states: Mapping[str, StateLeakage]

    @property
    def largest_gain(self) -> float:
        """The most that a state's masks tell beyond guessing, as a share."""
        most = max(state.told_share for state in self.states.values())
        return most - self.majority_share


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """How the fit of one kind of probe ended. Means are over states.

    Attributes:
        is_feasible: Whether the constraint held in every state on the validation texts.
        forced: Whether an infeasible or collapsed probe was exported on demand.
        margin: Allowed divergence, nats.
        num_texts: Report texts.
        masked_share: Mean share of tokens masked, in [0, 1].
        agreement: Mean share of predictions kept, in [0, 1].
        divergence: Mean divergence, nats.
        violation_rate: Mean share of texts over the margin, in [0, 1].
        accuracy_before: Accuracy of the unmasked model, in [0, 1]; like the next three,
            None without labels.
        accuracy_after: Mean accuracy under the masks, in [0, 1].
        macro_f1_before: Macro F1 of the unmasked model, in [0, 1].
        macro_f1_after: Mean macro F1 under the masks, in [0, 1].
        fit_seconds: Wall-clock time of the fit, seconds.
        seconds_by_stage: Where that time went.
        states: One report for each state, in order.
        verdict: How the fit ended and why; None in bundles of an older version.
        leakage: Whether the masks give labels away; None in bundles of an older
            version, and where a text has no label of its own or too few texts do.
    """

    is_feasible: bool
    forced: bool
    margin: float
    num_texts: Count
    masked_share: Share
    agreement: Share
    divergence: float
    violation_rate: Share
    accuracy_before: Share | None
    accuracy_after: Share | None
    macro_f1_before: Share | None
    macro_f1_after: Share | None
    fit_seconds: float
    seconds_by_stage: Mapping[str, float]
    states: tuple[StateReport, ...]
    verdict: FitVerdict | None = None
    leakage: LeakageReport | None = None
