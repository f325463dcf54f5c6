"""Masked runs of a step: texts, each at some states, to figures of every text.

One plain run captures every state; one further run serves all states that the texts are
masked at, and one more their complements, where those are asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffmask_training.encoder import Captured, Encoder
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.masking import (
    Noise,
    Relaxation,
    SampledGates,
    mix,
    noisy_gates,
)
from diffmask_training.objective import SparsityKind, text_means
from diffmask_training.probes import Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Masking:
    """Which texts are masked at one state, and by what.

    Attributes:
        state_index: Whose gates.
        texts: `[rows]` int64. Indices into the batch.
        noise: What the gates are drawn from.
    """

    state_index: int
    texts: Tensor
    noise: Noise


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFigures:
    """What one state's masks did to each text. All have the axis `[batch]`, float32.

    Attributes:
        divergence: Of the masked from the plain prediction, nats.
        sparsity: What is minimised.
        kept_share: Expected share of open gates, in (0, 1).
        energy: Mean square of the networks' scores.
        complement: Divergence of the prediction from the removed part alone, nats; 0
            where it was not run.
    """

    divergence: Tensor
    sparsity: Tensor
    kept_share: Tensor
    energy: Tensor
    complement: Tensor

    def stacked(self) -> Tensor:
        """Return `[5, batch]`, in the order of the attributes."""
        return torch.stack(
            [
                self.divergence,
                self.sparsity,
                self.kept_share,
                self.energy,
                self.complement,
            ]
        )

    @classmethod
    def unstacked(cls, figures: Tensor) -> "TextFigures":
        """Take them apart again."""
        divergences, sparsities, kept_shares, energies, complements = figures
        return cls(
            divergence=divergences,
            sparsity=sparsities,
            kept_share=kept_shares,
            energy=energies,
            complement=complements,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Gates of one state, and the texts that they are for.

    Attributes:
        state_index: The state.
        states: Its texts' states, `layers` tensors `[rows, tokens, hidden]`.
        inputs: Their inputs, each `[rows, tokens]`.
        original: Logits of their plain runs.
        gates: `[rows, tokens]`.
    """

    state_index: int
    states: tuple[Tensor, ...]
    inputs: dict[str, Tensor]
    original: Tensor
    gates: SampledGates


class MaskedRuns:
    """Runs texts under masks.

    Attributes:
        encoder: The frozen model.
        probe: Votes, and holds the baselines.
        relaxation: Gates while training.
        sparsity: What is minimised.
        with_complement: Whether complements are run too.
    """

    def __init__(
        self,
        encoder: Encoder,
        probe: Probe,
        *,
        relaxation: Relaxation,
        sparsity: SparsityKind,
        with_complement: bool,
    ) -> None:
        self.encoder = encoder
        self.probe = probe
        self.shape = HardConcreteShape()
        self.relaxation: Relaxation = relaxation
        self.sparsity: SparsityKind = sparsity
        self.with_complement = with_complement

    def run(
        self,
        inputs: Mapping[str, Tensor],
        captured: Captured,
        maskings: Sequence[Masking],
    ) -> list[TextFigures]:
        """Mask texts and measure each.

        Args:
            inputs: Model inputs, each `[batch, tokens]`.
            captured: The plain run on them.
            maskings: States in rising order, each with one text at least.

        Returns:
            One entry for each masking, differentiable in the probe.
        """
        drawn = [self.draw(inputs, captured, masking) for masking in maskings]
        masked = self._logits(drawn, complement=False)
        removed = self._logits(drawn, complement=True) if self.with_complement else None
        figures = []
        divergence = self.encoder.task.divergence
        for number, part in enumerate(drawn):
            divergences = divergence(part.original, masked[number], part.inputs)
            complements = torch.zeros_like(divergences)
            if removed is not None:
                complements = divergence(part.original, removed[number], part.inputs)
            figures.append(self.figures(part, divergences, complements))
        return figures

    def draw(
        self, inputs: Mapping[str, Tensor], captured: Captured, masking: Masking
    ) -> Drawn:
        """Draw the gates of one state for its texts.

        Args:
            inputs: Model inputs, each `[batch, tokens]`.
            captured: The plain run on them.
            masking: The state and its texts.
        """
        device = captured.logits.device
        texts = masking.texts.to(device)
        states = tuple(state[texts] for state in captured.hidden_states)
        gates = noisy_gates(
            self.probe,
            states,
            masking.state_index,
            self.shape,
            relaxation=self.relaxation,
            noise=masking.noise.to(device),
        )
        return Drawn(
            state_index=masking.state_index,
            states=states,
            inputs={name: value[texts] for name, value in inputs.items()},
            original=captured.logits[texts].float(),
            gates=gates,
        )

    def _logits(self, drawn: Sequence[Drawn], *, complement: bool) -> list[Tensor]:
        # Parts come in rising order of state; input gates all act on state 0.
        names = drawn[0].inputs
        inputs = {
            name: torch.cat([part.inputs[name] for part in drawn]) for name in names
        }
        mixed = {
            part.state_index: self._mixed(part, complement=complement) for part in drawn
        }
        if self.probe.shape.kind == "input":
            mixed = {0: torch.cat(list(mixed.values()))}
        logits = self.encoder.run_from_each(inputs, mixed)
        return list(torch.split(logits, [len(part.original) for part in drawn]))

    def _mixed(self, part: Drawn, *, complement: bool) -> Tensor:
        values = part.gates.values
        gates = 1 - values if complement else values
        return mix(self.probe, part.states, part.state_index, gates)

    def figures(
        self, part: Drawn, divergences: Tensor, complements: Tensor
    ) -> TextFigures:
        """Return what masks did to each text.

        Args:
            part: Gates and texts.
            divergences: `[rows]`, nats.
            complements: Likewise, of the predictions from the removed parts.
        """
        mask, gates = part.inputs["attention_mask"], part.gates
        kept = text_means(gates.keep_probability, mask)
        sparsity = kept
        if self.sparsity == "logarithmic":
            sparsity = text_means(gates.log_keep_probability, mask)
        return TextFigures(
            divergence=divergences,
            sparsity=sparsity,
            kept_share=kept,
            energy=text_means(gates.energy, mask),
            complement=complements,
        )
