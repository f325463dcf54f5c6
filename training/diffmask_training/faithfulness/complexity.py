"""How much of the texts explanations point at, and how evenly, per state and label."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.explained import ExplainedText
from diffmask_training.metrics.complexity import drop_layers, entropy, gini
from diffmask_training.metrics.intervals import Estimate, estimate
from diffmask_training.probes import ProbeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreComplexity:
    """How evenly one explainer spreads its scores over the words of a text.

    A random order of the same scores has the same figures, so there is no control.

    Attributes:
        explainer: Whose scores; magnitudes of signed ones.
        gini: Index of Gini, in [0, 1): 0 when all words matter alike.
        entropy: As a share of its largest value, in [0, 1]: 1 when they do.
    """

    explainer: str
    gini: Estimate | None
    entropy: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptShare:
    """How many tokens one state keeps in the texts of one predicted label.

    Attributes:
        kind: Input or hidden gates.
        state: Name of the state.
        label: The predicted label.
        kept_share: Mean over its texts of the share kept; None with under two texts.
    """

    kind: ProbeKind
    state: str
    label: str
    kept_share: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Complexity:
    """All of it.

    Attributes:
        scores: One entry for each explainer.
        kept_shares: By kind, state and label.
        drop_layer: Mean over the tokens of a text of the index of the first state that
            drops them; the number of states for those that none does.
    """

    scores: tuple[ScoreComplexity, ...]
    kept_shares: tuple[KeptShare, ...]
    drop_layer: Estimate | None


def measure_complexity(
    texts: Sequence[ExplainedText],
    scores_by_explainer: Mapping[str, Sequence[NDArray[np.floating]]],
    *,
    states: Sequence[str],
    labels: Sequence[str],
    seed: int,
) -> Complexity:
    """Measure scores and hard masks.

    Args:
        texts: The texts.
        scores_by_explainer: `[words]` for each text; empty where it has none.
        states: Names of the states.
        labels: Names of the labels.
        seed: Of resamples.
    """
    kinds = list(texts[0].gates) if texts else []
    return Complexity(
        scores=tuple(
            ScoreComplexity(
                explainer=name,
                gini=_interval([_of_magnitudes(gini, one) for one in scores], seed),
                entropy=_interval(
                    [_of_magnitudes(_relative_entropy, one) for one in scores], seed
                ),
            )
            for name, scores in scores_by_explainer.items()
        ),
        kept_shares=tuple(
            KeptShare(
                kind=kind,
                state=state,
                label=name,
                kept_share=_interval(
                    [
                        float(text.hard_masks(kind)[index].mean())
                        for text in texts
                        if text.label == label
                    ],
                    seed,
                ),
            )
            for kind in kinds
            for index, state in enumerate(states)
            for label, name in enumerate(labels)
        ),
        drop_layer=_interval(
            [float(drop_layers(text.gates["input"]).mean()) for text in texts], seed
        ),
    )


def _of_magnitudes(
    figure: Callable[[NDArray[np.floating]], float | None], scores: NDArray[np.floating]
) -> float | None:
    return figure(np.abs(scores)) if scores.size else None


def _relative_entropy(scores: NDArray[np.floating]) -> float | None:
    found = entropy(scores)
    return None if found is None or len(scores) < 2 else found / np.log(len(scores))


def _interval(values: Sequence[float | None], seed: int) -> Estimate | None:
    try:
        return estimate(values, generator=np.random.default_rng(seed))
    except MetricError:
        return None
