"""Explanations as orders of words, over many texts and every way of removal."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diffmask_training.classifier import Classifier
from diffmask_training.errors import MetricError
from diffmask_training.explained import ExplainedText
from diffmask_training.faithfulness.orders import (
    RATIOS,
    OrderFigures,
    TextUnderRemoval,
    order_figures,
    under_removal,
)
from diffmask_training.metrics.intervals import (
    Comparison,
    Estimate,
    compare,
    estimate_over_texts,
)
from diffmask_training.metrics.racu import racu
from diffmask_training.metrics.soft_erasure import soft_erasure
from diffmask_training.removal import (
    OPERATORS,
    Operator,
    over_words,
    removal_by,
    soft_removal,
)

# Soft removal zeroes coordinates, which is none of the ways of removing whole words.
Removal = Operator | Literal["zeroed_coordinates"]
_REMOVALS: tuple[Removal, ...] = (*OPERATORS, "zeroed_coordinates")
# Shows the texts that are worked on while they are; may be the identity.
Track = Callable[[Sequence[ExplainedText]], Iterable[ExplainedText]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingSettings:
    """How rankings are measured.

    Attributes:
        random_orders: Random orders of each text that make the control, >= 2.
        soft_draws: How often coordinates are drawn for a soft figure.
        naopc_max_words: NAOPC is measured on texts of up to this many words; each needs
            2 to that power runs.
        seed: Of orders, draws and resamples.
    """

    random_orders: int = 5
    soft_draws: int = 5
    naopc_max_words: int = 9
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingFigure:
    """One figure of one explainer under one way of removal.

    Attributes:
        name: Of the figure, in `catalogue`.
        explainer: Whose scores.
        removal: How words were removed.
        comparison: The figure, that of random orders, and the difference; None where it
            is defined on fewer than two texts.
    """

    name: str
    explainer: str
    removal: Removal
    comparison: Comparison | None


@dataclass(slots=True)
class _Collected:
    """What the texts so far have shown under one removal; one entry for each text.

    Attributes:
        scores: Figures of the explanation.
        controls: Means of the figures of its random orders.
        curves: `[ratios]` Masking curve of the explanation.
        random_curves: `[orders, ratios]` Those of its random orders.
    """

    scores: list[Mapping[str, float | None]] = field(default_factory=list)
    controls: list[Mapping[str, float | None]] = field(default_factory=list)
    curves: list[NDArray[np.float64]] = field(default_factory=list)
    random_curves: list[NDArray[np.float64]] = field(default_factory=list)


def measure_rankings(
    classifier: Classifier,
    texts: Sequence[ExplainedText],
    scores_by_explainer: Mapping[str, Sequence[NDArray[np.floating]]],
    *,
    baseline: Tensor,
    settings: RankingSettings,
    track: Track = iter,
) -> tuple[RankingFigure, ...]:
    """Measure every explainer under every way of removal.

    Args:
        classifier: The frozen model.
        texts: The texts; those without a word are passed over.
        scores_by_explainer: `[words]` for each text.
        baseline: `[hidden]` float32. The probe's own.
        settings: How.
        track: Shows the progress.

    Returns:
        Figures by explainer, then by removal.
    """
    collected: dict[tuple[str, Removal], _Collected] = {
        (explainer, removal): _Collected()
        for explainer in scores_by_explainer
        for removal in _REMOVALS
    }
    index_by_id = {id(text): index for index, text in enumerate(texts)}
    for text in track(texts):
        index = index_by_id[id(text)]
        if not text.words.size:
            continue
        given = {name: each[index] for name, each in scores_by_explainer.items()}
        for operator in OPERATORS:
            predict = removal_by(operator, classifier, text.encoding, baseline=baseline)
            removed = under_removal(
                over_words(predict, text.is_special),
                text.words.size,
                naopc_max_words=settings.naopc_max_words,
            )
            for name, scores in given.items():
                _collect(
                    collected[name, operator],
                    removed,
                    scores,
                    index=index,
                    settings=settings,
                )
        for name, scores in given.items():
            _collect_soft(
                collected[name, "zeroed_coordinates"],
                classifier,
                text,
                scores,
                index=index,
                settings=settings,
            )
    return tuple(
        RankingFigure(
            name=name, explainer=explainer, removal=removal, comparison=comparison
        )
        for (explainer, removal), each in collected.items()
        for name, comparison in _summaries(each, settings.seed).items()
    )


def _orders(
    scores: NDArray[np.floating], index: int, settings: RankingSettings
) -> list[NDArray[np.floating]]:
    # The same random orders for every explainer and removal, which are then compared on
    # equal terms.
    generator = np.random.default_rng([settings.seed, index])
    return [generator.permutation(scores) for _ in range(settings.random_orders)]


def _collect(
    into: _Collected,
    text: TextUnderRemoval,
    scores: NDArray[np.floating],
    *,
    index: int,
    settings: RankingSettings,
) -> None:
    found = order_figures(text, scores)
    randoms = [order_figures(text, order) for order in _orders(scores, index, settings)]
    into.scores.append(found.values)
    into.controls.append(_mean_values([each.values for each in randoms]))
    into.curves.append(found.curve)
    into.random_curves.append(_stacked(randoms))


def _collect_soft(
    into: _Collected,
    classifier: Classifier,
    text: ExplainedText,
    scores: NDArray[np.floating],
    *,
    index: int,
    settings: RankingSettings,
) -> None:
    predict = soft_removal(classifier, text.encoding, text.is_special)
    generator = np.random.default_rng([settings.seed, index, 1])

    def figures(chances: NDArray[np.floating]) -> Mapping[str, float | None]:
        soft = soft_erasure(
            predict, chances, draws=settings.soft_draws, generator=generator
        )
        return {
            "soft_comprehensiveness": None if soft is None else soft.comprehensiveness,
            "soft_sufficiency": None if soft is None else soft.sufficiency,
        }

    chances = _as_chances(scores)
    into.scores.append(figures(chances))
    orders = _orders(chances, index, settings)
    into.controls.append(_mean_values([figures(order) for order in orders]))


def _as_chances(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return scores in [0, 1]: as they are where they are chances, else stretched."""
    low, high = float(scores.min()), float(scores.max())
    if low >= 0 and high <= 1:
        return scores
    if low == high:
        return np.full_like(scores, 0.5)
    chances: NDArray[np.floating] = np.clip((scores - low) / (high - low), 0.0, 1.0)
    return chances


def _mean_values(
    drawn: Sequence[Mapping[str, float | None]],
) -> Mapping[str, float | None]:
    means: dict[str, float | None] = {}
    for name in drawn[0]:
        defined = [value for each in drawn if (value := each[name]) is not None]
        means[name] = float(np.mean(defined)) if defined else None
    return means


def _stacked(figures: Sequence[OrderFigures]) -> NDArray[np.float64]:
    return np.stack([each.curve for each in figures])


def _summaries(collected: _Collected, seed: int) -> dict[str, Comparison | None]:
    summaries: dict[str, Comparison | None] = {}
    for name in collected.scores[0] if collected.scores else ():
        generator = np.random.default_rng(seed)
        try:
            summaries[name] = compare(
                [each[name] for each in collected.scores],
                [each[name] for each in collected.controls],
                generator=generator,
            )
        except MetricError:
            # Too few texts on which both are defined: no figure rather than a bad one.
            summaries[name] = None
    if collected.curves:
        summaries["racu"] = _racu(collected, seed)
    return summaries


def _racu(collected: _Collected, seed: int) -> Comparison | None:
    curves = np.stack(collected.curves)  # [batch, ratios]
    randoms = np.stack(collected.random_curves)  # [batch, orders, ratios]
    others = (randoms.sum(axis=1, keepdims=True) - randoms) / (randoms.shape[1] - 1)

    def score(chosen: NDArray[np.int64]) -> float | None:
        return _area(curves[chosen].mean(axis=0), randoms[chosen].mean(axis=(0, 1)))

    def control(chosen: NDArray[np.int64]) -> float | None:
        # Each random order against the others is what chance makes of the same figure.
        pairs = zip(
            randoms[chosen].mean(axis=0), others[chosen].mean(axis=0), strict=True
        )
        areas = [_area(curve, rest) for curve, rest in pairs]
        defined = [area for area in areas if area is not None]
        return float(np.mean(defined)) if defined else None

    def gain(chosen: NDArray[np.int64]) -> float | None:
        ours, chance = score(chosen), control(chosen)
        return None if ours is None or chance is None else ours - chance

    def interval(statistic: Callable[[NDArray[np.int64]], float | None]) -> Estimate:
        generator = np.random.default_rng(seed)
        return estimate_over_texts(statistic, len(curves), generator=generator)

    try:
        return Comparison(
            score=interval(score), control=interval(control), gain=interval(gain)
        )
    except MetricError:
        return None


def _area(
    curve: NDArray[np.float64], random_curve: NDArray[np.float64]
) -> float | None:
    return racu(ratios=RATIOS, performance=curve, random_performance=random_curve)
