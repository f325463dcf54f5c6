"""What a model said of a text: a value type for each task, and the units it is of."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Float32Array: TypeAlias = NDArray[np.float32]
Int64Array: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """The tokens or words that an explanation speaks of. Axis `[tokens]`.

    Attributes:
        texts: The tokens as the vocabulary spells them, or the words as written.
        starts: `[tokens]` int64. Start in the text, code points.
        ends: `[tokens]` int64. End in the text, code points, exclusive.
        segments: `[tokens]` int64. 0 for the text, 1 for its pair.
        is_special: `[tokens]` bool. Special tokens; never true for words.
    """

    texts: tuple[str, ...]
    starts: Int64Array
    ends: Int64Array
    segments: Int64Array
    is_special: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPrediction:
    """One label of several that exclude each other.

    Attributes:
        label: Name of the most probable label.
        label_index: Its index.
        probabilities: `[labels]` float32, sums to 1.
        logits: `[labels]` float32.
    """

    label: str
    label_index: int
    probabilities: Float32Array
    logits: Float32Array


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSetPrediction:
    """Every label that holds, of several that do not exclude each other.

    Attributes:
        labels: Names of the labels with a probability of at least 0.5, in index order.
        label_indices: Their indices.
        probabilities: `[labels]` float32, each in [0, 1] by itself.
        logits: `[labels]` float32.
    """

    labels: tuple[str, ...]
    label_indices: tuple[int, ...]
    probabilities: Float32Array
    logits: Float32Array


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuePrediction:
    """A number.

    Attributes:
        value: The number, on the scale that the model was trained on.
    """

    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TagsPrediction:
    """A label for each word. Arrays have the axis `[words]`.

    Attributes:
        words: The words, as the model's tokenizer parts them.
        labels: Name of each word's most probable label.
        label_indices: `[words]` int64. Their indices.
        probabilities: `[words, labels]` float32, each row sums to 1; of a word's first
            token.
    """

    words: Units
    labels: tuple[str, ...]
    label_indices: Int64Array
    probabilities: Float32Array


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanPrediction:
    """An answer cut out of the context, or that there is none.

    Attributes:
        text: The answer, as it stands in the context; empty where there is none.
        start: Its start in the context, code points.
        end: Its end, code points, exclusive.
        probability: Of its start times that of its end, among all tokens, in [0, 1];
            where there is none, of the first token, which stands for that.
        no_answer: Whether the context holds no answer; start and end are then 0.
    """

    text: str
    start: int
    end: int
    probability: float
    no_answer: bool = False


# What the model said; which of them is the task's choice.
Prediction: TypeAlias = (
    LabelPrediction
    | LabelSetPrediction
    | ValuePrediction
    | TagsPrediction
    | SpanPrediction
)
