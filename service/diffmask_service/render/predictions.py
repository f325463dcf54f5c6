"""Predictions in words and bars, for terminal and page alike."""

from dataclasses import dataclass

from diffmask_service.core.predictions import (
    LabelPrediction,
    LabelSetPrediction,
    Prediction,
    SpanPrediction,
    TagsPrediction,
    ValuePrediction,
)
from diffmask_service.render.report import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """A prediction in a few words.

    Attributes:
        text: What the model said; printable.
        probability: Of it, in [0, 1]; None where it is not one probability.
    """

    text: str
    probability: float | None = None

    def __str__(self) -> str:
        """Return both on one line."""
        if self.probability is None:
            return self.text
        return f"{self.text} {self.probability:.1%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One probability of a prediction.

    Attributes:
        name: What is probable; printable.
        value: How much, in [0, 1].
        is_chosen: Whether it belongs to what the model said.
    """

    name: str
    value: float
    is_chosen: bool


def headline(prediction: Prediction) -> Headline:
    """Return a prediction in a few words."""
    match prediction:
        case LabelPrediction():
            probability = float(prediction.probabilities[prediction.label_index])
            return Headline(text=printable(prediction.label), probability=probability)
        case LabelSetPrediction():
            return Headline(text=printable(", ".join(prediction.labels)) or "no label")
        case ValuePrediction():
            return Headline(text=f"{prediction.value:.4g}")
        case TagsPrediction():
            return Headline(text=printable(" ".join(prediction.labels)))
        case SpanPrediction():
            text = "no answer" if prediction.no_answer else printable(prediction.text)
            return Headline(text=text, probability=prediction.probability)


def bars(prediction: Prediction, labels: tuple[str, ...]) -> tuple[Bar, ...]:
    """Return the probabilities of a prediction; none where it has no several.

    Args:
        prediction: The prediction.
        labels: Label names of the model in index order.
    """
    match prediction:
        case LabelPrediction():
            chosen = {prediction.label_index}
        case LabelSetPrediction():
            chosen = set(prediction.label_indices)
        case TagsPrediction():
            return _of_words(prediction)
        case _:
            return ()
    values = prediction.probabilities.tolist()
    return tuple(
        Bar(name=printable(label), value=value, is_chosen=index in chosen)
        for index, (label, value) in enumerate(zip(labels, values, strict=True))
    )


def _of_words(prediction: TagsPrediction) -> tuple[Bar, ...]:
    return tuple(
        Bar(
            name=printable(f"{word}  {label}"),
            value=float(values.max()),
            is_chosen=False,
        )
        for word, label, values in zip(
            prediction.words.texts,
            prediction.labels,
            prediction.probabilities,
            strict=True,
        )
    )
