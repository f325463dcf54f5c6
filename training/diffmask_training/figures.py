"""What hard masks do to predictions: figures from the predictions of any run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffmask_training.batches import Encoding
from diffmask_training.tasks import Quality, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFigures:
    """What one state's hard masks do to the predictions.

    Attributes:
        state: Name of the state.
        kept_share: Share of all tokens kept, special tokens counted, in [0, 1].
        agreement: Share of predictions kept, in [0, 1]; of words with the same label
            where each word has one.
        divergence: Mean divergence, nats.
        excess: Mean excess of single texts over the margin, nats.
        violation_rate: Share of texts with a divergence over the margin, in [0, 1].
        accuracy: Accuracy under the mask, in [0, 1]; None without labels, or where the
            task has none.
        macro_f1: Macro F1 under the mask, in [0, 1]; likewise.
        divergence_quantile: Divergence that the asked share of the texts keeps within,
            nats; None where none was asked for.
        scores: The task's own figures under the mask, by name.
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
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The masks of every state on one set of texts.

    Attributes:
        num_texts: Texts.
        accuracy: Accuracy of the unmasked model, in [0, 1]; None without labels, or
            where the task has none.
        macro_f1: Its macro F1, in [0, 1]; likewise.
        states: One entry for each state, in order.
        scores: The task's own figures of the unmasked model, by name.
    """

    num_texts: int
    accuracy: float | None
    macro_f1: float | None
    states: tuple[StateFigures, ...]
    scores: Mapping[str, float] = field(default_factory=dict)

    def mean(self, field: str) -> float:
        """Return the mean over states of one of their figures."""
        return float(np.mean([getattr(state, field) for state in self.states]))

    def mean_if_labelled(self, field: str) -> float | None:
        """Return the mean over states of accuracy or macro F1, None where none is."""
        return None if getattr(self, field) is None else self.mean(field)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedRun:
    """Some texts under the hard mask of one state, in order.

    Attributes:
        predictions: Of the masked runs, as the task has them.
        divergences: Of each text, nats.
        num_kept: Tokens kept of each text.
    """

    predictions: Sequence[Any]
    divergences: Sequence[float]
    num_kept: Sequence[int]


def summarise(
    *,
    task: Task,
    states: Sequence[str],
    texts: Sequence[Encoding],
    predictions: Sequence[Any],
    runs: Sequence[MaskedRun],
    margin: float,
    quantile: float | None = None,
) -> Figures:
    """Compare masked with unmasked predictions.

    Args:
        task: What is predicted.
        states: Names of the states.
        texts: The texts.
        predictions: Of the plain runs.
        runs: One for each state, over the same texts.
        margin: Allowed divergence, nats.
        quantile: Share of the texts whose divergence to report, in (0, 1).
    """
    num_tokens = sum(len(text.input_ids) for text in texts)
    figures = []
    for state, run in zip(states, runs, strict=True):
        distance: NDArray[np.float64] = np.array(run.divergences, dtype=np.float64)
        pairs = zip(predictions, run.predictions, strict=True)
        quality = _quality(task, run.predictions, texts)
        fidelity = task.fidelity(predictions, run.predictions)
        figures.append(
            StateFigures(
                state=state,
                kept_share=sum(run.num_kept) / num_tokens,
                agreement=float(np.mean([task.agreement(*pair) for pair in pairs])),
                divergence=float(distance.mean()),
                excess=float(np.maximum(distance - margin, 0.0).mean()),
                violation_rate=float((distance > margin).mean()),
                accuracy=quality.accuracy,
                macro_f1=quality.macro_f1,
                divergence_quantile=None
                if quantile is None
                else float(np.quantile(distance, quantile)),
                scores={**fidelity, **quality.scores},
            )
        )
    quality = _quality(task, predictions, texts)
    return Figures(
        num_texts=len(texts),
        accuracy=quality.accuracy,
        macro_f1=quality.macro_f1,
        states=tuple(figures),
        scores=quality.scores,
    )


def _quality(
    task: Task, predictions: Sequence[Any], texts: Sequence[Encoding]
) -> Quality:
    if any(text.label is None for text in texts):
        return Quality()
    return task.quality(predictions, texts)
