"""From votes to gates, and the run of the model under them.

Input gates multiply up: a vote of "drop" at any state is final. Hidden gates do not. A
gate of an input probe acts on state 0, the word embedding; a hidden gate on its own
state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffmask_training.encoder import Captured, Encoder
from diffmask_training.hard_concrete import (
    HardConcreteShape,
    log_keep_probability,
    sample,
)
from diffmask_training.probes import Probe

Relaxation = Literal["soft", "straight_through", "deterministic"]
HARD_MASK_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """Gates of one state.

    Attributes:
        values: `[batch, tokens]` float32 in [0, 1]. What multiplies the masked state.
        keep_probability: `[batch, tokens]` float32 in (0, 1). Closed form of the chance
            that the gate is not zero.
    """

    values: Tensor
    keep_probability: Tensor


def sampled_gates(
    probe: Probe,
    hidden_states: Sequence[Tensor],
    state_index: int,
    shape: HardConcreteShape,
    *,
    relaxation: Relaxation,
    generator: torch.Generator,
) -> Gates:
    """Draw the gates of one state, differentiable in the probe.

    Args:
        probe: Votes.
        hidden_states: `layers` tensors `[batch, tokens, hidden]`.
        state_index: Whose gates, in [0, num_states).
        shape: Of the votes' distribution.
        relaxation: `soft` votes as sampled, `straight_through` the same cut to 0 or 1,
            `deterministic` the hard mask; the last two keep a soft gradient.
        generator: Source of randomness.
    """
    logits = _vote_logits(probe, hidden_states, state_index)
    keep_probability = log_keep_probability(logits, shape).sum(dim=0).exp()
    if relaxation == "deterministic":
        hard = (keep_probability >= HARD_MASK_THRESHOLD).float()
        values = hard + keep_probability - keep_probability.detach()
    else:
        values = sample(logits, shape, generator).prod(dim=0)
        if relaxation == "straight_through":
            hard = (values >= HARD_MASK_THRESHOLD).float()
            values = hard + values - values.detach()
    return Gates(values=values, keep_probability=keep_probability)


def hard_gates(
    probe: Probe,
    hidden_states: Sequence[Tensor],
    state_index: int,
    shape: HardConcreteShape,
) -> Gates:
    """Return the deterministic gates of one state: 1 where it is kept, else 0."""
    logits = _vote_logits(probe, hidden_states, state_index)
    keep_probability = log_keep_probability(logits, shape).sum(dim=0).exp()
    values = (keep_probability >= HARD_MASK_THRESHOLD).float()
    return Gates(values=values, keep_probability=keep_probability)


def masked_logits(
    encoder: Encoder,
    inputs: Mapping[str, Tensor],
    captured: Captured,
    *,
    probe: Probe,
    state_index: int,
    gates: Tensor,
) -> Tensor:
    """Return the model's logits when one state is masked.

    Args:
        encoder: The frozen model.
        inputs: Model inputs, each `[batch, tokens]`.
        captured: The plain run on the same inputs.
        probe: Holds the baselines.
        state_index: Whose gates these are, in [0, num_states).
        gates: `[batch, tokens]` float32 in [0, 1].

    Returns:
        `[batch, labels]` float32.
    """
    site = 0 if probe.shape.kind == "input" else state_index
    mixed = mix(probe, captured.hidden_states, state_index, gates)
    return encoder.run_from(inputs, site, mixed).float()


def mix(
    probe: Probe, hidden_states: Sequence[Tensor], state_index: int, gates: Tensor
) -> Tensor:
    """Return the masked state: each token's own where its gate is 1, the baseline at 0.

    Args:
        probe: Holds the baselines.
        hidden_states: `layers` tensors `[batch, tokens, hidden]`.
        state_index: Whose gates these are, in [0, num_states).
        gates: `[batch, tokens]` float32 in [0, 1].

    Returns:
        `[batch, tokens, hidden]` float32, in place of state 0 for an input probe, of
        the gates' own state for a hidden probe.
    """
    site = 0 if probe.shape.kind == "input" else state_index
    gate = gates.unsqueeze(-1)  # [batch, tokens, 1]
    state = hidden_states[site].float()
    return gate * state + (1 - gate) * probe.baseline(state_index)


def _vote_logits(
    probe: Probe, hidden_states: Sequence[Tensor], state_index: int
) -> Tensor:
    first = 0 if probe.shape.kind == "input" else state_index
    return torch.stack(
        [
            probe.gate_logits(hidden_states, voter)
            for voter in range(first, state_index + 1)
        ]
    )  # [votes, batch, tokens]
