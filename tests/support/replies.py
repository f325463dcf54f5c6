"""A made-up but plausible reply, and equality of values that hold arrays."""

from dataclasses import fields, is_dataclass

import numpy as np

from diffmask_service.core.predictions import (
    Float32Array,
    LabelPrediction,
    Prediction,
    Units,
)
from diffmask_service.core.values import (
    Explanation,
    ModelIdentity,
    Reply,
    Timings,
    Verification,
)

STATES = ("word_embeddings", "embeddings", *(f"block_{i}" for i in range(1, 7)))
LABELS = ("negative", "positive")
# How soon each token's gate falls, as a model of sentiment might have it: 0 stays to
# the end, 1 goes at once.
_HASTE_BY_TOKEN = {
    "[CLS]": 0.35,
    "a": 0.9,
    "visually": 0.3,
    "stunning": 0.02,
    ",": 0.8,
    "but": 0.25,
    "never": 0.12,
    "bor": 0.1,
    "##ing": 0.16,
    "film": 0.5,
    "about": 0.85,
    "memory": 0.62,
    "and": 0.78,
    "loss": 0.38,
    ".": 0.7,
    "[SEP]": 0.55,
}
TEXT = "A visually stunning, but never boring film about memory and loss."


def prediction(*, positive: float = 0.9873) -> LabelPrediction:
    """Return a prediction with a given probability of the label `positive`."""
    probabilities = np.array([1 - positive, positive], dtype=np.float32)
    index = int(probabilities.argmax())
    return LabelPrediction(
        label=LABELS[index],
        label_index=index,
        probabilities=probabilities,
        logits=np.log(probabilities),
    )


def labelled(prediction: Prediction) -> LabelPrediction:
    """Return a prediction that is one label, for the type checker's sake."""
    assert isinstance(prediction, LabelPrediction)
    return prediction


def units(texts: tuple[str, ...] = tuple(_HASTE_BY_TOKEN)) -> Units:
    """Return units where they stand in `TEXT`, those in brackets being special."""
    is_special = np.array([text.startswith("[") for text in texts])
    starts, ends, done = [], [], 0
    for text, special in zip(texts, is_special, strict=True):
        piece = "" if special else text.removeprefix("##")
        start = 0 if special else TEXT.lower().index(piece, done)
        done = max(done, start + len(piece))
        starts.append(start)
        ends.append(start + len(piece))
    return Units(
        texts=texts,
        starts=np.array(starts),
        ends=np.array(ends),
        segments=np.zeros(len(texts), dtype=np.int64),
        is_special=is_special,
    )


def gates(num_states: int = len(STATES)) -> tuple[Float32Array, Float32Array]:
    """Return input gates that never rise with the state, and hidden gates that may."""
    haste = np.array(list(_HASTE_BY_TOKEN.values()))
    depth = np.linspace(0.0, 1.0, num_states)[:, np.newaxis]  # [layers, 1]
    input_gates = 1 / (1 + np.exp(9 * (depth + 1.3 * haste - 0.95)))
    wave = 0.5 + 0.5 * np.cos(5 * depth + 4 * haste)
    hidden_gates = np.where(depth == 1.0, 0.0, wave * (1 - 0.8 * haste))
    hidden_gates[-1, 0] = 0.998
    return input_gates.astype(np.float32), hidden_gates.astype(np.float32)


def explanation(num_states: int = len(STATES)) -> Explanation:
    """Return an explanation with everything that one can hold."""
    input_gates, hidden_gates = gates(num_states)
    return Explanation(
        prediction=prediction(),
        num_tokens=len(_HASTE_BY_TOKEN),
        is_truncated=False,
        units=units(),
        scores=input_gates.mean(axis=0),
        input_gates=input_gates,
        hidden_gates=hidden_gates,
        verifications=(
            Verification(
                state="",
                divergence=0.03125,
                is_agreeing=True,
                kept_share=0.375,
                prediction=prediction(positive=0.914),
            ),
        ),
    )


def bare_explanation() -> Explanation:
    """Return the answer to a call that asked for no gates."""
    return Explanation(prediction=prediction(), num_tokens=16, is_truncated=False)


def reply(*explanations: Explanation, states: tuple[str, ...] = STATES) -> Reply:
    """Return a reply of one complete explanation, or of the given ones."""
    return Reply(
        model=ModelIdentity(
            id="sst2-minilm", version="1", digest="5e1f" * 16, precision="w8"
        ),
        states=states,
        explanations=explanations or (explanation(len(states)),),
        timings=Timings(
            tokenize_seconds=0.0002,
            queue_seconds=0.0001,
            infer_seconds=0.0123,
            decode_seconds=0.0004,
        ),
        request_id="b1946ac92492d2347c6235b4d2611184",
    )


def is_same(left: object, right: object) -> bool:
    """Return whether two values are equal, arrays by type, shape and element."""
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(is_same, left, right))
    if is_dataclass(left) and type(left) is type(right):
        return all(
            is_same(getattr(left, field.name), getattr(right, field.name))
            for field in fields(left)
        )
    return left == right
