"""Outputs of the graph to the explanation of one text."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from diffmask_service.core.alignment import (
    aggregate_scores,
    group_tokens,
    group_words,
    hard_mask,
    take_units,
    top_units,
)
from diffmask_service.core.decoding import Decoder, Reading
from diffmask_service.core.predictions import Float32Array
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
) -> Explanation:
    """Build the explanation of one text, verifications left out.

    Args:
        reading: What the model made of the text.
        input_gates: `[layers, tokens]` float32 in [0, 1], all states; None if unasked.
        hidden_gates: `[layers, tokens]` float32 in [0, 1], all states; None if unasked.
        selection: What was asked for.
        decoder: What the logits mean.
    """
    text, tokenized = reading.text, reading.tokenized
    explanation = Explanation(
        prediction=decoder.decode(reading),
        num_tokens=len(tokenized.texts),
        is_truncated=tokenized.is_truncated,
        tokenized=tokenized,
        logits=reading.logits,
    )
    options = selection.options
    if not options.gates or input_gates is None:
        return explanation
    is_words = options.granularity is Granularity.WORDS
    grouping = group_words(text, tokenized) if is_words else group_tokens(tokenized)
    units, scores = grouping.units, grouping.pool(aggregate_scores(input_gates))
    positions = np.arange(len(units.texts), dtype=np.int64)
    if options.top_k is not None:
        positions = top_units(scores, units, k=options.top_k)
        units = take_units(units, positions)

    def shown(gates: Float32Array) -> Float32Array:
        return np.ascontiguousarray(
            grouping.pool(gates[selection.state_index])[:, positions]
        )

    wants_input = GateKind.INPUT in options.gates
    return replace(
        explanation,
        units=units,
        scores=scores[positions],
        input_gates=shown(input_gates) if wants_input else None,
        hidden_gates=None if hidden_gates is None else shown(hidden_gates),
    )


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
