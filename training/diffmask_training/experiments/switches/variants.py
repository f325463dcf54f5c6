"""Fits with one choice turned: what the paper's code exposes, and the vision port.

Each is the fit as it is with one part in place of another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffmask_training.encoder import Captured
from diffmask_training.masked_runs import Drawn, MaskedRuns, Masking, TextFigures
from diffmask_training.masking import SampledGates
from diffmask_training.preparation import PLAIN, Parts
from diffmask_training.probes import Probe, ProbeKind, ProbeShape

_BOTH: tuple[ProbeKind, ...] = ("input", "hidden")
# Of the running mean that REINFORCE compares a divergence with, as in the paper's code.
_SMOOTHING = 0.99


class ZeroBaseline(Probe):
    """Puts nothing in the place of what is masked, and learns no better."""

    def baseline(self, state_index: int) -> Tensor:
        """Return the `[hidden]` vector that replaces a masked entry of one state."""
        return torch.zeros_like(super().baseline(state_index))


class Unbounded(Probe):
    """Takes the network's scores for gate logits as they are."""

    def bounded(self, scores: Tensor, state_index: int) -> Tensor:
        """Return the gate logits that one state's scores stand for, as many."""
        return scores + self.bias[state_index]


class Biasless(Probe):
    """Has no bias to start from, so that its gates begin half open."""

    def __init__(self, shape: ProbeShape) -> None:
        super().__init__(shape)
        torch.nn.init.zeros_(self.bias)
        self.bias.requires_grad = False


class OwnState(Probe):
    """Votes by the state alone, where an input probe reads the word beside it."""

    def scores(self, hidden_states: Sequence[Tensor], state_index: int) -> Tensor:
        """Return what one state's network puts out, before it is bounded."""
        words = self.statistics(0)[0].expand_as(hidden_states[0])
        # At its mean, a word says nothing; at state 0 it is the state itself.
        read = list(hidden_states)
        if state_index > 0:
            read[0] = words
        return super().scores(read, state_index)


class SingleVote(Probe):
    """Lets one state's vote be its gate, where those below multiply in."""

    def voters(self, state_index: int) -> range:
        """Return the states whose votes make one state's gates, multiplied."""
        return range(state_index, state_index + 1)


class ScoreFunction(MaskedRuns):
    """Draws gates that are open or shut, and learns by REINFORCE.

    The term of the score is weighed by the multiplier like the divergence itself, which
    the paper's code leaves out.

    Source: Williams 1992; De Cao et al. 2020, section 3.3, for the comparison.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._running: dict[int, Tensor] = {}

    def draw(
        self, inputs: Mapping[str, Tensor], captured: Captured, masking: Masking
    ) -> Drawn:
        """Draw the gates of one state for its texts: each 0 or 1."""
        drawn = super().draw(inputs, captured, masking)
        gates = drawn.gates
        uniform = masking.noise.uniform[0].to(gates.keep_probability.device)
        return Drawn(
            state_index=drawn.state_index,
            states=drawn.states,
            inputs=drawn.inputs,
            original=drawn.original,
            gates=SampledGates(
                values=(uniform < gates.keep_probability).float(),
                keep_probability=gates.keep_probability,
                log_keep_probability=gates.log_keep_probability,
                energy=gates.energy,
            ),
        )

    def figures(
        self, part: Drawn, divergences: Tensor, complements: Tensor
    ) -> TextFigures:
        """Return what masks did to each text, with the score's gradient."""
        found = divergences.detach()
        before = self._running.get(part.state_index, found.mean())
        mean = _SMOOTHING * before + (1 - _SMOOTHING) * found.mean()
        self._running[part.state_index] = mean
        score = _log_chance(part.gates, part.inputs["attention_mask"])
        # Adds no value, only the gradient.
        scored = divergences + (found - before) * (score - score.detach())
        return super().figures(part, scored, complements)


def _log_chance(gates: SampledGates, mask: Tensor) -> Tensor:
    # `[rows]`: logarithm of the chance that a text's gates came out as they did.
    log_open = gates.log_keep_probability
    log_shut = torch.log1p(-gates.keep_probability.clamp(max=1 - 1e-6))
    return (torch.where(gates.values > 0, log_open, log_shut) * mask).sum(dim=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A fit with one choice turned.

    Attributes:
        described: What is turned.
        parts: What it is made of.
        kinds: Probes that it makes a difference to.
        has_fixed_state: Whether every text is masked at one and the same state, the
            middle one.
    """

    described: str
    parts: Parts = PLAIN
    kinds: tuple[ProbeKind, ...] = _BOTH
    has_fixed_state: bool = False


AS_IS = "as_is"
FIXED_STATE = "fixed_state"
VARIANTS: Mapping[str, Variant] = {
    AS_IS: Variant(described="as it is"),
    "zero_baseline": Variant(
        described="a baseline of zeros, not a learned one",
        parts=Parts(probe=ZeroBaseline),
    ),
    "unbounded": Variant(
        described="gate logits without bounds", parts=Parts(probe=Unbounded)
    ),
    "no_bias": Variant(described="gates without a bias", parts=Parts(probe=Biasless)),
    "own_state": Variant(
        described="votes by the state alone, without the word",
        parts=Parts(probe=OwnState),
        kinds=("input",),
    ),
    "single_vote": Variant(
        described="one vote a gate, not the product of those below",
        parts=Parts(probe=SingleVote),
        kinds=("input",),
    ),
    FIXED_STATE: Variant(
        described="one state for all texts, not any", has_fixed_state=True
    ),
    "reinforce": Variant(
        described="REINFORCE, not Hard Concrete", parts=Parts(runs=ScoreFunction)
    ),
}
