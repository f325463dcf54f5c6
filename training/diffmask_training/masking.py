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
    draw_uniform,
    log_keep_probability,
    vote,
)
from diffmask_training.probes import Probe

Relaxation = Literal["soft", "mixed", "deterministic"]
HARD_MASK_THRESHOLD = 0.5
# Share of the texts that get the hard mask while training.
_HARD_SHARE = {"soft": 0.0, "mixed": 0.5, "deterministic": 1.0}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledGates(Gates):
    """Gates of one state while training.

    Attributes:
        log_keep_probability: `[batch, tokens]` float32, < 0. Its logarithm, exact where
            the probability is too small for a float.
        energy: `[batch, tokens]` float32, >= 0. Mean square of the voting networks'
            scores; what keeps them where their gradient has not died away.
    """

    log_keep_probability: Tensor
    energy: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What the gates of one state are drawn from.

    Attributes:
        uniform: `[votes, batch, tokens]` float32 in (0, 1). One draw for each vote.
        choice: `[batch, 1]` float32 in [0, 1). Decides which texts get a hard mask.
    """

    uniform: Tensor
    choice: Tensor

    def rows(self, positions: Tensor) -> "Noise":
        """Return the noise of some of the texts."""
        return Noise(uniform=self.uniform[:, positions], choice=self.choice[positions])

    def to(self, device: torch.device) -> "Noise":
        """Return it on a device."""
        return Noise(uniform=self.uniform.to(device), choice=self.choice.to(device))


def draw_noise(
    probe: Probe,
    state_index: int,
    *,
    num_texts: int,
    num_tokens: int,
    generator: torch.Generator,
) -> Noise:
    """Draw the noise of one state's gates.

    Args:
        probe: Votes.
        state_index: Whose gates, in [0, num_states).
        num_texts: Texts.
        num_tokens: Tokens of each, padding counted.
        generator: Source of randomness, on the CPU: a draw is the same for every
            device.
    """
    num_votes = len(probe.voters(state_index))
    uniform = draw_uniform((num_votes, num_texts, num_tokens), generator)
    return Noise(uniform=uniform, choice=torch.rand(num_texts, 1, generator=generator))


def sampled_gates(
    probe: Probe,
    hidden_states: Sequence[Tensor],
    state_index: int,
    shape: HardConcreteShape,
    *,
    relaxation: Relaxation,
    generator: torch.Generator,
) -> SampledGates:
    """Draw the gates of one state, differentiable in the probe.

    Args:
        probe: Votes.
        hidden_states: `layers` tensors `[batch, tokens, hidden]`.
        state_index: Whose gates, in [0, num_states).
        shape: Of the votes' distribution.
        relaxation: As `noisy_gates` takes it.
        generator: Source of randomness.
    """
    num_texts, num_tokens, _ = hidden_states[state_index].shape
    noise = draw_noise(
        probe,
        state_index,
        num_texts=num_texts,
        num_tokens=num_tokens,
        generator=generator,
    )
    return noisy_gates(
        probe, hidden_states, state_index, shape, relaxation=relaxation, noise=noise
    )


def noisy_gates(
    probe: Probe,
    hidden_states: Sequence[Tensor],
    state_index: int,
    shape: HardConcreteShape,
    *,
    relaxation: Relaxation,
    noise: Noise,
) -> SampledGates:
    """Return the gates of one state under some noise, differentiable in the probe.

    Args:
        probe: Votes.
        hidden_states: `layers` tensors `[batch, tokens, hidden]`.
        state_index: Whose gates, in [0, num_states).
        shape: Of the votes' distribution.
        relaxation: `soft` samples the votes; `deterministic` takes the hard mask, with
            the gradient of the keep probability; `mixed` does either for half of the
            texts. A sampled vote that is clipped to zero has no gradient, so a gate
            that must open learns it from few samples; a hard mask always has one, but
            alone it would leave probabilities hovering about the threshold.
        noise: What the gates are drawn from.
    """
    voters = probe.voters(state_index)
    scores = [probe.scores(hidden_states, voter) for voter in voters]
    logits = torch.stack(
        [probe.bounded(s, voter) for s, voter in zip(scores, voters, strict=True)]
    )  # [votes, batch, tokens]
    log_probability = log_keep_probability(logits, shape).sum(dim=0)
    keep_probability = log_probability.exp()
    soft = vote(logits, noise.uniform, shape).prod(dim=0)
    hard = (keep_probability >= HARD_MASK_THRESHOLD).float()
    hard = hard + keep_probability - keep_probability.detach()
    hard_share = _HARD_SHARE[relaxation]
    is_hard = noise.choice < hard_share
    return SampledGates(
        values=torch.where(is_hard, hard, soft),
        keep_probability=keep_probability,
        log_keep_probability=log_probability,
        energy=torch.stack(scores).square().mean(dim=0),
    )


def hard_gates(
    probe: Probe,
    hidden_states: Sequence[Tensor],
    state_index: int,
    shape: HardConcreteShape,
) -> Gates:
    """Return the deterministic gates of one state: 1 where it is kept, else 0."""
    logits = torch.stack(
        [probe.gate_logits(hidden_states, voter) for voter in probe.voters(state_index)]
    )
    return hard_gates_of(logits, shape)


def hard_gates_of(gate_logits: Tensor, shape: HardConcreteShape) -> Gates:
    """Return the deterministic gates that votes come to.

    Args:
        gate_logits: `[votes, batch, tokens]` float32.
        shape: Of the votes' distribution.
    """
    keep_probability = log_keep_probability(gate_logits, shape).sum(dim=0).exp()
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
        Float32, of the shape that the plain run's have.
    """
    mixed = mix(probe, captured.hidden_states, state_index, gates)
    return encoder.run_from(inputs, probe.site(state_index), mixed).float()


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
    state = hidden_states[probe.site(state_index)]
    return mix_state(probe, state, state_index, gates)


def mix_state(probe: Probe, state: Tensor, state_index: int, gates: Tensor) -> Tensor:
    """Return a masked state, as `mix` does.

    Args:
        probe: Holds the baselines.
        state: `[batch, tokens, hidden]`: that of `Probe.site`.
        state_index: Whose gates these are, in [0, num_states).
        gates: `[batch, tokens]` float32 in [0, 1].
    """
    gate = gates.unsqueeze(-1)  # [batch, tokens, 1]
    return gate * state.float() + (1 - gate) * probe.baseline(state_index)
