"""What hard masks do to predictions: figures from the plain arrays of any run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffmask_training.metrics.classification import accuracy, macro_f1


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFigures:
    """What one state's hard masks do to the predictions.

    Attributes:
        state: Name of the state.
        kept_share: Share of all tokens kept, special tokens counted, in [0, 1].
        agreement: Share of predictions kept, in [0, 1].
        divergence: Mean divergence, nats.
        excess: Mean excess of single texts over the margin, nats.
        violation_rate: Share of texts with a divergence over the margin, in [0, 1].
        accuracy: Accuracy under the mask, in [0, 1]; None without labels.
        macro_f1: Macro F1 under the mask, in [0, 1]; None without labels.
        divergence_quantile: Divergence that the asked share of the texts keeps within,
            nats; None where none was asked for.
    """

    state: str
    kept_share: float
    agreement: float
    divergence: float
    excess: float
    violation_rate: float
    accuracy: float | None
    macro_f1: float | None
    divergence_quantile: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The masks of every state on one set of texts.

    Attributes:
        num_texts: Texts.
        accuracy: Accuracy of the unmasked model, in [0, 1]; None without labels.
        macro_f1: Its macro F1, in [0, 1]; None without labels.
        states: One entry for each state, in order.
    """

    num_texts: int
    accuracy: float | None
    macro_f1: float | None
    states: tuple[StateFigures, ...]

    def mean(self, field: str) -> float:
        """Return the mean over states of one of their figures."""
        return float(np.mean([getattr(state, field) for state in self.states]))

    def mean_if_labelled(self, field: str) -> float | None:
        """Return the mean over states of accuracy or macro F1, None without labels."""
        return None if self.accuracy is None else self.mean(field)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedRun:
    """Some texts under the hard mask of one state. All arrays have the axis `[batch]`.

    Attributes:
        logits: `[batch, labels]` float. Of the masked runs.
        num_kept: `[batch]` Tokens kept.
    """

    logits: NDArray[np.floating]
    num_kept: NDArray[np.integer]


def summarise(
    *,
    states: Sequence[str],
    labels: NDArray[np.integer],
    num_tokens: NDArray[np.integer],
    logits: NDArray[np.floating],
    runs: Sequence[MaskedRun],
    margin: float,
    quantile: float | None = None,
) -> Figures:
    """Compare masked with unmasked predictions.

    Args:
        states: Names of the states.
        labels: `[batch]` true label indices, or -1 where there is none.
        num_tokens: `[batch]` tokens of each text, special tokens counted.
        logits: `[batch, labels]` float. Of the plain runs.
        runs: One for each state, over the same texts.
        margin: Allowed divergence, nats.
        quantile: Share of the texts whose divergence to report, in (0, 1).
    """
    is_labelled = bool((labels >= 0).all())
    before = logits.argmax(axis=-1)
    figures = []
    for state, run in zip(states, runs, strict=True):
        after = run.logits.argmax(axis=-1)
        distance = kl_divergence(logits, run.logits)
        figures.append(
            StateFigures(
                state=state,
                kept_share=float(run.num_kept.sum() / num_tokens.sum()),
                agreement=accuracy(after, before),
                divergence=float(distance.mean()),
                excess=float(np.maximum(distance - margin, 0.0).mean()),
                violation_rate=float((distance > margin).mean()),
                accuracy=accuracy(after, labels) if is_labelled else None,
                macro_f1=macro_f1(after, labels) if is_labelled else None,
                divergence_quantile=None
                if quantile is None
                else float(np.quantile(distance, quantile)),
            )
        )
    return Figures(
        num_texts=len(labels),
        accuracy=accuracy(before, labels) if is_labelled else None,
        macro_f1=macro_f1(before, labels) if is_labelled else None,
        states=tuple(figures),
    )


def kl_divergence(
    logits: NDArray[np.floating], other_logits: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return KL(softmax(logits) ‖ softmax(other_logits)) of each row, nats.

    Args:
        logits: `[batch, labels]` float.
        other_logits: `[batch, labels]` float.
    """
    log_p, log_q = _log_softmax(logits), _log_softmax(other_logits)
    distance: NDArray[np.float64] = (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)
    return np.maximum(distance, 0.0)


def _log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    normalised: NDArray[np.float64] = shifted - np.log(
        np.exp(shifted).sum(axis=-1, keepdims=True)
    )
    return normalised
