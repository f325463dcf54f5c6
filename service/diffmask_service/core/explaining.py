"""Outputs of the graph to the explanation of one text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from diffmask_service.core.alignment import (
    Grouping,
    Ungrouped,
    aggregate_scores,
    group_tokens,
    group_words,
    hard_mask,
    take_units,
    top_units,
)
from diffmask_service.core.decoding import Decoder, Reading
from diffmask_service.core.predictions import Float32Array, Int64Array, Units
from diffmask_service.core.selection import Selection
from diffmask_service.core.values import (
    Explanation,
    GateKind,
    Granularity,
    TextInput,
    TokenizedText,
    Verification,
)


def keep_of(text: TextInput, tokenized: TokenizedText) -> Float32Array | None:
    """Return what a text's caller lets the model see, as a `keep` input.

    Args:
        text: With places of masked tokens, all of them in the text.
        tokenized: Its tokens.

    Returns:
        `[tokens]` float32, 0 for a masked token and 1 for another; None keeps all.
    """
    if not text.masked_tokens:
        return None
    keep = np.ones(len(tokenized.input_ids), dtype=np.float32)
    keep[list(text.masked_tokens)] = 0.0
    return keep


def masks_to_verify(
    input_gates: Float32Array,
    selection: Selection,
    *,
    threshold: float,
    keep: Float32Array | None = None,
) -> tuple[Float32Array, ...]:
    """Return the hard masks whose predictions were asked for, as `keep` inputs.

    Args:
        input_gates: `[layers, tokens]` float32 in [0, 1]. All states of one text.
        selection: What was asked for.
        threshold: A token at or over it is kept, in [0, 1].
        keep: `[tokens]` float32, 0 or 1. What none of the masks may keep; None for
            nothing.

    Returns:
        For each mask `[tokens]` float32, 1 for a kept token and 0 for another. Special
        tokens are treated like any other.
    """
    masks = (
        hard_mask(
            aggregate_scores(input_gates) if index is None else input_gates[index],
            threshold=threshold,
        ).astype(np.float32)
        for index in selection.verify_index
    )
    return tuple(mask if keep is None else mask * keep for mask in masks)


def explain_text(
    reading: Reading,
    *,
    input_gates: Float32Array | None,
    hidden_gates: Float32Array | None,
    selection: Selection,
    decoder: Decoder,
    verifications: tuple[Verification, ...] = (),
    is_left_out: bool = False,
) -> Explanation:
    """Build the explanation of one text.

    Args:
        reading: What the model made of the text.
        input_gates: `[layers, tokens]` float32 in [0, 1], all states; None if unasked.
        hidden_gates: `[layers, tokens]` float32 in [0, 1], all states; None if unasked.
        selection: What was asked for.
        decoder: What the logits mean.
        verifications: One for each mask that was verified.
        is_left_out: Whether what was asked for is left out by the caller's condition.
    """
    tokenized, gates = reading.tokenized, selection.options.gates
    shown = None
    if gates and input_gates is not None:
        shown = _choose_units(reading, aggregate_scores(input_gates), selection)
    is_input_shown = shown is not None and GateKind.INPUT in gates
    return Explanation(
        prediction=decoder.decode(reading),
        num_tokens=len(tokenized.texts),
        is_truncated=tokenized.is_truncated,
        units=None if shown is None else shown.units,
        scores=None if shown is None else shown.scores,
        input_gates=_pick(shown, input_gates if is_input_shown else None, selection),
        hidden_gates=_pick(shown, hidden_gates, selection),
        verifications=verifications,
        tokenized=tokenized,
        logits=reading.logits,
        is_left_out=is_left_out,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """Attributes: the units that are told, their scores, and how values become theirs.

    `positions` are those of the units among all of their kind; None for all of them.
    """

    grouping: Grouping | Ungrouped
    positions: Int64Array | None
    units: Units
    scores: Float32Array


def _choose_units(
    reading: Reading, token_scores: Float32Array, selection: Selection
) -> _Shown:
    text, tokenized, options = reading.text, reading.tokenized, selection.options
    is_words = options.granularity is Granularity.WORDS
    grouping = group_words(text, tokenized) if is_words else group_tokens(tokenized)
    units, scores = grouping.units, grouping.pool(token_scores)
    positions = None
    if options.top_k is not None:
        positions = top_units(scores, units, k=options.top_k)
        units, scores = take_units(units, positions), scores[positions]
    return _Shown(grouping=grouping, positions=positions, units=units, scores=scores)


def _pick(
    shown: _Shown | None, gates: Float32Array | None, selection: Selection
) -> Float32Array | None:
    # `[layers, tokens]` of all states and tokens to what is told of them.
    if shown is None or gates is None:
        return None
    if selection.options.states:
        gates = gates[selection.state_index]
    pooled = shown.grouping.pool(gates)
    if shown.positions is not None:
        pooled = pooled[:, shown.positions]
    return np.ascontiguousarray(pooled)


def verify(
    reading: Reading,
    masks: Sequence[Float32Array],
    masked_logits: Sequence[Float32Array],
    *,
    selection: Selection,
    states: Sequence[str],
    decoder: Decoder,
) -> tuple[Verification, ...]:
    """Compare what the model says of the kept tokens with what it says of all.

    Args:
        reading: What the model made of the whole text.
        masks: For each verified mask `[tokens]` float32, 0 or 1.
        masked_logits: For each mask the logits of the kept tokens.
        selection: What was asked for.
        states: Names of all states of the model.
        decoder: What the logits mean.
    """
    verifications = []
    for index, mask, logits in zip(
        selection.verify_index, masks, masked_logits, strict=True
    ):
        masked = replace(reading, logits=logits)
        verifications.append(
            Verification(
                state="" if index is None else states[index],
                divergence=decoder.divergence(reading, masked),
                is_agreeing=decoder.agrees(reading, masked),
                kept_share=float(np.mean(mask)),
                prediction=decoder.decode(masked),
            )
        )
    return tuple(verifications)
