"""Gates and masks of one text alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffmask_training.batches import Encoding
from diffmask_training.classifier import Classifier
from diffmask_training.hard_concrete import HardConcreteShape, log_keep_probability
from diffmask_training.masking import HARD_MASK_THRESHOLD
from diffmask_training.probes import Probe, ProbeKind
from diffmask_training.refinement.baselines import baselines_of
from diffmask_training.refinement.gated_text import GatedText, JudgedMask
from diffmask_training.refinement.optimising import RefinementSettings, optimise
from diffmask_training.refinement.tightening import tightened


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement(JudgedMask):
    """The gates found for one text at one state, and their mask.

    Where it was tightened, the mask is not only the keep probabilities' own.

    Attributes:
        keep_probability: `[tokens]` float64 in (0, 1). As the optimiser left it.
        multiplier: At the end.
        baseline: `[hidden]` float32. What took the place of what is masked.
    """

    keep_probability: NDArray[np.float64]
    multiplier: float
    baseline: NDArray[np.float32]


def refine(
    classifier: Classifier,
    encoding: Encoding,
    *,
    kind: ProbeKind,
    settings: RefinementSettings,
    probe: Probe | None = None,
    known: NDArray[np.bool_] | None = None,
) -> tuple[Refinement, ...]:
    """Find gates for one text.

    Args:
        classifier: The frozen model.
        encoding: The text.
        kind: What is masked. Input gates of one text need no state to be read from, so
            there is one set of them; hidden gates have one for each state.
        settings: How.
        probe: Of that kind; needed for its baselines.
        known: `[masks, tokens]` bool for input gates, `[layers, tokens]` for hidden
            ones: masks to start from where tightening finds none smaller. With the
            probe's masks, one that keeps to the margin is never made larger.

    Returns:
        One entry for input gates, one for each state for hidden gates.

    Raises:
        ConfigError: The baseline cannot be had.
    """
    text = GatedText(classifier, encoding, kind)
    baselines = baselines_of(classifier, text, probe, settings.baseline)
    logits, multipliers = optimise(text, baselines, settings)
    probabilities = log_keep_probability(logits.detach(), HardConcreteShape()).exp()
    refinements = []
    for group, learned in enumerate(baselines):
        baseline = learned.detach()
        chances = probabilities[group].double().numpy()
        keep = chances >= HARD_MASK_THRESHOLD
        if settings.is_tightened:
            others = np.empty((0, len(keep)), dtype=np.bool_)
            if known is not None:
                others = known[group : group + 1] if kind == "hidden" else known
            keep = tightened(
                text,
                group,
                baseline=baseline,
                keep_probability=chances,
                known=others,
                margin=settings.margin,
            )
        judged = text.judge(group, keep, baseline)
        refinements.append(
            Refinement(
                state=judged.state,
                keep=keep,
                divergence=judged.divergence,
                is_agreeing=judged.is_agreeing,
                keep_probability=chances,
                multiplier=multipliers.values[group],
                baseline=baseline.numpy(),
            )
        )
    return tuple(refinements)


def judge_masks(
    classifier: Classifier,
    encoding: Encoding,
    masks: NDArray[np.bool_],
    *,
    probe: Probe,
) -> tuple[JudgedMask, ...]:
    """Run a text under a probe's masks, with the probe's own baselines.

    Args:
        classifier: The frozen model.
        encoding: The text.
        masks: `[masks, tokens]` bool. One for input gates, one for each state for
            hidden gates.
        probe: Whose kind and baselines.
    """
    text = GatedText(classifier, encoding, probe.shape.kind)
    baselines = baselines_of(classifier, text, probe, "probe")
    return tuple(
        text.judge(group, keep, baseline)
        for group, (keep, baseline) in enumerate(zip(masks, baselines, strict=True))
    )
