"""What a probe gives away against gates found for each text, and where it fails.

Source: method of Monteiro Paes et al. 2024, "Selective Explanations": an amortised
explanation is kept where it is good and replaced by a costlier one where it is not.
Deviation: whether it is good is not predicted but seen, by one run of the model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from diffmask_training.classifier import Classifier
from diffmask_training.errors import MetricError
from diffmask_training.explained import ExplainedText
from diffmask_training.metrics.intervals import Comparison, compare
from diffmask_training.probes import Probe
from diffmask_training.refinement import (
    JudgedMask,
    Refinement,
    RefinementSettings,
    judge_masks,
    refine,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinedText:
    """One text under the probe's masks and under refined ones.

    Attributes:
        text: The text and its gates.
        amortised: Under the hard mask of the score, or of each state's hidden gates.
        refined: The gates found for it, as many; None where the probe's masks keep to
            the margin and only failing texts were to be refined.
    """

    text: ExplainedText
    amortised: tuple[JudgedMask, ...]
    refined: tuple[Refinement, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AmortisationGap:
    """Refined masks beside the probe's at one state; the probe's are the control.

    Attributes:
        state: Name of the masked state.
        num_texts: Texts that were refined.
        kept_share: Share of a text's tokens kept.
        divergence: Nats.
        agreement: Share of predictions kept.
        violation_rate: Share of texts over the margin.
    """

    state: str
    num_texts: int
    kept_share: Comparison
    divergence: Comparison
    agreement: Comparison
    violation_rate: Comparison


def refine_text(
    classifier: Classifier,
    text: ExplainedText,
    *,
    probe: Probe,
    settings: RefinementSettings,
    failing_only: bool,
) -> RefinedText:
    """Judge the probe's masks of one text, and find better ones.

    Args:
        classifier: The frozen model.
        text: The text.
        probe: The probe.
        settings: How.
        failing_only: Whether a text whose masks keep to the margin is left alone.
    """
    kind = probe.shape.kind
    hard = text.hard_masks(kind)
    masks = text.score_mask[None] if kind == "input" else hard
    amortised = judge_masks(classifier, text.encoding, masks, probe=probe)
    is_failing = any(each.divergence > settings.margin for each in amortised)
    if failing_only and not is_failing:
        return RefinedText(text=text, amortised=amortised, refined=None)
    refined = refine(
        classifier,
        text.encoding,
        kind=kind,
        settings=settings,
        probe=probe,
        # Of input masks, any may be the one to start from.
        known=np.concatenate([masks, hard]) if kind == "input" else hard,
    )
    return RefinedText(text=text, amortised=amortised, refined=refined)


def amortisation_gap(
    texts: Sequence[RefinedText], *, margin: float, seed: int = 0
) -> tuple[AmortisationGap, ...]:
    """Compare the masks of each state over the texts that were refined.

    Args:
        texts: At least two of them refined.
        margin: Allowed divergence, nats.
        seed: Of resamples.

    Raises:
        MetricError: There are fewer than two.
    """
    pairs = [
        list(zip(each.refined, each.amortised, strict=True))
        for each in texts
        if each.refined is not None
    ]
    if len(pairs) < 2:
        raise MetricError(
            f"a gap needs two refined texts or more, not {len(pairs)} of {len(texts)}"
        )
    return tuple(_gap(by_text, margin, seed) for by_text in zip(*pairs, strict=True))


def _gap(
    pairs: Sequence[tuple[Refinement, JudgedMask]], margin: float, seed: int
) -> AmortisationGap:
    def compared(figure: Callable[[JudgedMask], float]) -> Comparison:
        return compare(
            [figure(refined) for refined, _ in pairs],
            [figure(amortised) for _, amortised in pairs],
            generator=np.random.default_rng(seed),
        )

    return AmortisationGap(
        state=pairs[0][0].state,
        num_texts=len(pairs),
        kept_share=compared(lambda mask: mask.kept_share),
        divergence=compared(lambda mask: mask.divergence),
        agreement=compared(lambda mask: float(mask.is_agreeing)),
        violation_rate=compared(lambda mask: float(mask.divergence > margin)),
    )
