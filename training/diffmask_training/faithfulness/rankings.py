"""Explanations as orders of words, over many texts and every way of removal."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diffmask_training.classifier import Classifier
from diffmask_training.errors import MetricError
from diffmask_training.explained import ExplainedText
from diffmask_training.faithfulness.masks import Track
from diffmask_training.faithfulness.orders import (
    RATIOS,
    Extent,
    OrderFigures,
    TextUnderRemoval,
    order_figures,
    order_masks,
    under_removal,
)
from diffmask_training.metrics.intervals import (
    Comparison,
    Estimate,
    Statistic,
    compare,
    estimate_over_texts,
)
from diffmask_training.metrics.racu import relative_areas
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingSettings:
    """How rankings are measured.

    Attributes:
        extent: The main figures, or all of them.
        random_orders: Random orders of each text that make the control, >= 2.
        soft_draws: How often coordinates are drawn for a soft figure.
        naopc_max_words: NAOPC is measured on texts of up to this many words; each needs
            2 to that power runs.
        seed: Of orders, draws and resamples.
    """

    extent: Extent = "all"
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
    removals = _REMOVALS if settings.extent == "all" else OPERATORS
    collected: dict[tuple[str, Removal], _Collected] = {
        (explainer, removal): _Collected()
        for explainer in scores_by_explainer
        for removal in removals
    }
    for index, text in enumerate(track(texts)):
        if not text.words.size:
            continue
        orders = {
            name: _Orders(each[index], index, settings)
            for name, each in scores_by_explainer.items()
        }
        for operator in OPERATORS:
            predict = removal_by(operator, classifier, text.encoding, baseline=baseline)
            removed = under_removal(
                over_words(predict, text.is_special),
                text.words.size,
                naopc_max_words=settings.naopc_max_words,
                extent=settings.extent,
            )
            _run_all(removed, orders.values())
            for name, each in orders.items():
                _collect(collected[name, operator], removed, each)
        for name, each in orders.items():
            if (name, "zeroed_coordinates") in collected:
                _collect_soft(
                    collected[name, "zeroed_coordinates"],
                    classifier,
                    text,
                    _Orders(_as_chances(each.scores), index, settings),
                )
    return tuple(
        RankingFigure(
            name=name, explainer=explainer, removal=removal, comparison=comparison
        )
        for (explainer, removal), each in collected.items()
        for name, comparison in _summaries(each, settings.seed).items()
    )


class _Orders:
    """The scores of one text, and the same dealt out at random.

    The same places come out on top for every explainer and removal, which are then
    compared on equal terms, and share their runs.

    Attributes:
        scores: `[words]` float. Of the explanation.
        dealt: The same values in random orders.
        generator: For what else is drawn.
        settings: How many.
    """

    def __init__(
        self, scores: NDArray[np.floating], index: int, settings: RankingSettings
    ) -> None:
        self.settings = settings
        self.scores = scores
        falling = -np.sort(-scores)
        generator = np.random.default_rng([settings.seed, index])
        self.dealt = [
            falling[generator.permutation(len(scores))]
            for _ in range(settings.random_orders)
        ]
        self.generator = np.random.default_rng([settings.seed, index, 1])


def _run_all(text: TextUnderRemoval, orders: Iterable[_Orders]) -> None:
    """Run every mask of every order together; what is asked for after is known."""
    masks = [
        order_masks(text, scores)
        for each in orders
        for scores in (each.scores, *each.dealt)
    ]
    text.predict(np.concatenate(masks))


def _collect(into: _Collected, text: TextUnderRemoval, orders: _Orders) -> None:
    found = order_figures(text, orders.scores)
    randoms = [order_figures(text, dealt) for dealt in orders.dealt]
    into.scores.append(found.values)
    into.controls.append(_mean_values([each.values for each in randoms]))
    if found.curve is not None:
        into.curves.append(found.curve)
        into.random_curves.append(_stacked(randoms))


def _collect_soft(
    into: _Collected, classifier: Classifier, text: ExplainedText, orders: _Orders
) -> None:
    predict = soft_removal(classifier, text.encoding, text.is_special)

    def figures(chances: NDArray[np.floating]) -> Mapping[str, float | None]:
        soft = soft_erasure(
            predict,
            chances,
            draws=orders.settings.soft_draws,
            generator=orders.generator,
        )
        return {
            "soft_comprehensiveness": None if soft is None else soft.comprehensiveness,
            "soft_sufficiency": None if soft is None else soft.sufficiency,
        }

    into.scores.append(figures(orders.scores))
    into.controls.append(_mean_values([figures(dealt) for dealt in orders.dealt]))


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
    return np.stack([each.curve for each in figures if each.curve is not None])


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

    def score(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return _areas(weights, curves, randoms.mean(axis=1))

    def control(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        # Each random order against the others is what chance makes of the same figure.
        areas = np.stack(
            [
                _areas(weights, randoms[:, order], others[:, order])
                for order in range(randoms.shape[1])
            ]
        )
        is_defined = np.isfinite(areas)
        counts = is_defined.sum(axis=0)
        sums = np.where(is_defined, areas, 0.0).sum(axis=0)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    def interval(statistic: Statistic) -> Estimate:
        generator = np.random.default_rng(seed)
        return estimate_over_texts(statistic, len(curves), generator=generator)

    try:
        return Comparison(
            score=interval(score),
            control=interval(control),
            gain=interval(lambda weights: score(weights) - control(weights)),
        )
    except MetricError:
        return None


def _areas(
    weights: NDArray[np.float64],
    curves: NDArray[np.float64],
    random_curves: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return RACU of mean curves over weighted texts, `[resamples]`."""
    shares = weights / weights.sum(axis=1, keepdims=True)
    return relative_areas(RATIOS, shares @ curves, shares @ random_curves)
