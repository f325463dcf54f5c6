"""Which channels to multiply by what before a product of 8-bit numbers.

For every product several sets of multipliers are tried on real texts, each against the
float32 product; the best is taken if it is worth the time. Behind an activation
function a channel or two can be four times as large as all others, whatever is done
about them: then the largest few are left out of the product, by multipliers of 0.

Source:
    Xiao et al. 2023, "SmoothQuant", equation 4, for those with an exponent. There one
    exponent serves a whole model; here it is chosen for each product by the error that
    it leaves, as one exponent never fitted all (table in `int8.py`). Dettmers et al.
    2022, "LLM.int8()", section 3.2, for what is left out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from diffmask_service.bundle import DISABLED_OPTIMIZERS_BY_DEVICE
from diffmask_training.batches import Encoding
from diffmask_training.export.int8 import (
    LEVELS,
    channel_scale,
    divided,
    is_reducible,
    join_constants,
    tensors_of,
)

_EXPONENTS = (0.5, 0.6, 0.7, 0.8, 0.9)
# What the largest value is over the largest that its channel is cut down to.
_CUTS = (2.0, 4.0, 8.0, 16.0)
# Channels left out of a product, and the share of the error that must go with them.
# It takes three further operators, which count for little beside a wide product alone.
_NUM_APART = 8
_WORTH_APART = 0.6
_WIDE = 1024
# Smoothing that leaves more than this share of the error is not worth its time.
_WORTH = 0.8
_Values = Sequence[NDArray[np.float32]]


def find_multipliers(
    model: ModelProto, texts: Sequence[Encoding]
) -> dict[str, NDArray[np.float32]]:
    """Return the multipliers of each product that is the better for them.

    Args:
        model: The float32 graph, its attention fused.
        texts: Real texts, none of those that the result is judged on.

    Returns:
        By the name of the product's output `[in]`.
    """
    plain = join_constants(model)
    weights = tensors_of(plain)
    products = [node for node in plain.graph.node if is_reducible(node, weights)]
    values = _run(plain, list(dict.fromkeys(n.input[0] for n in products)), texts)
    found = {
        node.output[0]: _best(values[node.input[0]], weights[node.input[1]])
        for node in products
    }
    return {name: each for name, each in found.items() if each is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    multiplier: NDArray[np.float32]
    error: float


def _best(values: _Values, weight: NDArray[np.float32]) -> NDArray[np.float32] | None:
    largest = np.max([np.abs(value).max(axis=0) for value in values], axis=0)
    ones = np.ones_like(largest)
    plain = _error(values, weight, ones)
    smoothed = _least(values, weight, _candidates(largest, weight))
    if len(weight) >= _WIDE:
        together = ones.copy()
        together[np.argpartition(largest, -_NUM_APART)[-_NUM_APART:]] = 0
        candidates = _candidates(largest * together, weight)
        left = _least(values, weight, (each * together for each in candidates))
        if left.error < _WORTH_APART * min(smoothed.error, plain):
            return left.multiplier
    return smoothed.multiplier if smoothed.error < _WORTH * plain else None


def _least(
    values: _Values,
    weight: NDArray[np.float32],
    candidates: Iterable[NDArray[np.float32]],
) -> _Tried:
    tried = (
        _Tried(multiplier=each, error=_error(values, weight, each))
        for each in candidates
    )
    return min(tried, key=lambda each: each.error)


def _candidates(
    largest: NDArray[np.float32], weight: NDArray[np.float32]
) -> Iterator[NDArray[np.float32]]:
    of_weight = np.log(np.maximum(np.abs(weight).max(axis=1), 1e-5))
    of_values = np.log(np.maximum(largest, 1e-5))
    for exponent in _EXPONENTS:
        logarithm = exponent * of_values - (1 - exponent) * of_weight
        yield np.exp(logarithm.mean() - logarithm).astype(np.float32)
    for cut in _CUTS:
        allowed = largest.max() / cut
        yield (allowed / np.maximum(largest, allowed)).astype(np.float32)


def _error(
    values: _Values, weight: NDArray[np.float32], multiplier: NDArray[np.float32]
) -> float:
    smoothed = divided(weight, multiplier)
    scale = channel_scale(smoothed)
    restored = np.clip(np.rint(smoothed / scale), -LEVELS, LEVELS) * scale
    taken = weight * (multiplier > 0)[:, np.newaxis]
    return sum(
        float(np.square(_rounded(value * multiplier) @ restored - value @ taken).sum())
        for value in values
    )


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # As ONNX Runtime does it: 256 levels from the least to the largest value of a run,
    # zero among them.
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    step = np.float32((high - low) / 255 or 1.0)
    zero = np.rint(-low / step)
    codes = np.clip(np.rint(values / step) + zero, 0, 255)
    return np.asarray((codes - zero) * step, dtype=np.float32)


def _run(
    model: ModelProto, names: Sequence[str], texts: Sequence[Encoding]
) -> Mapping[str, _Values]:
    # For each value `[tokens, in]` of every text.
    tapped = ModelProto()
    tapped.CopyFrom(model)
    tapped.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        tapped.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=DISABLED_OPTIMIZERS_BY_DEVICE["cpu"],
    )
    taken = {value.name for value in session.get_inputs()}
    values: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for text in texts:
        ids = np.array([text.input_ids], dtype=np.int64)
        feeds = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.array([text.token_type_ids], dtype=np.int64),
            "keep": np.ones(ids.shape, dtype=np.float32),
        }
        given = {name: feeds[name] for name in taken}
        for name, value in zip(names, session.run(names, given), strict=True):
            values[name].append(value.reshape(-1, value.shape[-1]))
    return values
