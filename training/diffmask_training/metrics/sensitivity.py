"""How far an explanation moves when its input moves a little."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.metrics.rankings import checked_pair

_Input = TypeVar("_Input")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Changes of one explanation, as shares of its own norm.

    Attributes:
        maximum: Largest over perturbations, >= 0.
        mean: Mean over perturbations, >= 0.
    """

    maximum: float
    mean: float


def sensitivity(
    explain: Callable[[_Input], NDArray[np.floating]],
    original: _Input,
    *,
    perturb: Callable[[_Input, np.random.Generator], _Input],
    draws: int,
    generator: np.random.Generator,
) -> Sensitivity | None:
    """Explain an input and perturbed copies of it, and compare.

    Args:
        explain: From an input to its scores, `[tokens]` float.
        original: The input: embeddings, or words that have synonyms.
        perturb: Moves an input a little and keeps its tokens in place.
        draws: How many perturbed copies, >= 1.
        generator: Source of randomness.

    Returns:
        None when the explanation is zero everywhere, and so has no norm to relate to.

    Raises:
        MetricError: There is no draw, scores are not sound, or a perturbed input has
            another number of tokens.

    Source:
        Yeh et al. 2019, "On the (In)fidelity and Sensitivity of Explanations", max-
        sensitivity, estimated by sampling; Euclidean norms over the norm of the
        explanation, as in Captum and Quantus.
    """
    if draws < 1:
        raise MetricError("sensitivity needs at least one perturbation")
    scores = explain(original)
    changes = []
    for _ in range(draws):
        left, right = checked_pair(scores, explain(perturb(original, generator)))
        changes.append(np.linalg.norm(left - right))
    norm = np.linalg.norm(np.asarray(scores, dtype=np.float64))
    if norm == 0:
        return None
    return Sensitivity(
        maximum=float(max(changes) / norm), mean=float(np.mean(changes) / norm)
    )
