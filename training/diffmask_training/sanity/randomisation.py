"""Explanations of a classifier whose layers were spoilt, beside those of the real one.

The probe is fitted anew for every spoilt classifier: the old one on new states would
give other gates whatever it had learned.

Source: Adebayo et al. 2018, "Sanity Checks for Saliency Maps", cascading
randomisation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

from diffmask_training.classifier import Classifier
from diffmask_training.errors import MetricError
from diffmask_training.explained import ExplainedText
from diffmask_training.families import state_modules
from diffmask_training.metrics.intervals import Comparison, compare
from diffmask_training.metrics.similarity import rank_correlation, top_jaccard

# The top of a text that two explanations are compared on, share of its words.
_TOP_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """Explanations of a spoilt classifier beside those of the real one.

    Attributes:
        depth: Blocks that were spoilt, from the top, besides the head.
        rank_correlation: Spearman's, of the words' scores; the control deals the scores
            out at random. None where scores are constant on nearly all texts.
        top_jaccard: Overlap of the top fifth of the words; control as above.
        agreement: Share of texts to which both classifiers give the same label.
        kept_share: Mean of the spoilt one's scores, in [0, 1].
    """

    depth: int
    rank_correlation: Comparison | None
    top_jaccard: Comparison | None
    agreement: float
    kept_share: float


def write_randomised(
    classifier: Classifier, directory: Path, *, depth: int, seed: int
) -> Path:
    """Write a copy of a classifier with its upper layers drawn anew.

    Args:
        classifier: The original; stays as it is.
        directory: Where to.
        depth: 0 spoils the head alone, n also the n blocks on top, and one more than
            there are blocks everything.
        seed: Of the weights.
    """
    model = classifier.encoder.model
    torch.manual_seed(seed)
    fresh = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
        model.config
    )
    kept = _kept_parameters(classifier, depth)
    original = model.state_dict()
    fresh.load_state_dict(
        {
            name: original[name] if name in kept else value
            for name, value in fresh.state_dict().items()
        }
    )
    fresh.save_pretrained(directory)
    classifier.tokenizer.save_pretrained(directory)
    return directory


def compare_explanations(
    original: Sequence[ExplainedText],
    spoilt: Sequence[ExplainedText],
    *,
    depth: int,
    seed: int = 0,
) -> Similarity:
    """Compare two explanations of the same texts.

    Args:
        original: By the real classifier and its probe.
        spoilt: By the spoilt one and its own probe.
        depth: How far it was spoilt.
        seed: Of random orders and resamples.

    Raises:
        MetricError: These are not the same texts.
    """
    pairs = list(zip(original, spoilt, strict=True))
    if any(one.encoding.input_ids != other.encoding.input_ids for one, other in pairs):
        raise MetricError("explanations can be compared of the same texts only")
    scores = [
        (one.score[one.words], other.score[other.words])
        for one, other in pairs
        if one.words.size
    ]
    generator = np.random.default_rng(seed)
    shuffled = [(one, generator.permutation(other)) for one, other in scores]
    return Similarity(
        depth=depth,
        rank_correlation=_compared(
            [rank_correlation(*pair) for pair in scores],
            [rank_correlation(*pair) for pair in shuffled],
            seed,
        ),
        top_jaccard=_compared(
            [_top_overlap(*pair) for pair in scores],
            [_top_overlap(*pair) for pair in shuffled],
            seed,
        ),
        agreement=float(np.mean([one.label == other.label for one, other in pairs])),
        kept_share=float(np.mean([other.score.mean() for other in spoilt])),
    )


def _kept_parameters(classifier: Classifier, depth: int) -> frozenset[str]:
    model = classifier.encoder.model
    modules = [module for _, module in state_modules(model)]
    num_blocks = len(modules) - 2
    if depth > num_blocks:
        return frozenset()
    # A module may be shared by several blocks: spoilt in one, it is spoilt in all.
    spoilt = {
        id(parameter)
        for module in modules[2 + num_blocks - depth :]
        for parameter in module.parameters()
    }
    prefix = f"{model.base_model_prefix}."
    return frozenset(
        name
        for name, parameter in model.named_parameters()
        if name.startswith(prefix)
        and ".pooler." not in name
        and id(parameter) not in spoilt
    )


def _top_overlap(
    scores: NDArray[np.floating], other: NDArray[np.floating]
) -> float | None:
    # Scores that are all alike have no top.
    if np.ptp(scores) == 0 or np.ptp(other) == 0:
        return None
    return top_jaccard(scores, other, count=max(1, round(_TOP_SHARE * len(scores))))


def _compared(
    scores: Sequence[float | None], controls: Sequence[float | None], seed: int
) -> Comparison | None:
    try:
        return compare(scores, controls, generator=np.random.default_rng(seed))
    except MetricError:
        return None
