"""Probes: one small network per state, from hidden states to gate logits.

Input probe of state k: `bound * tanh(MLP([h_0; h_k])) + bias`; hidden probe: the same
on `h_k` alone. Each state is standardised first with fixed statistics of the training
texts: the look-up output is an order of magnitude smaller than what layer norms put
out, and without this its probe hardly moves. The statistics are folded into the weights
at export.

Source: De Cao et al. 2020, appendix; the bounded gate is in their code, not in the
text. Deviations: the standardisation, and an initial bias of 3 instead of 5, from which
the gates can close within a few hundred steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

ProbeKind = Literal["input", "hidden"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeShape:
    """Sizes of a probe.

    Attributes:
        kind: What it masks.
        num_states: States probed.
        hidden_size: Width of a state.
        bottleneck_size: Width inside the small network.
        bound: Gate logits lie within this of the bias, > 0.
        initial_bias: Gate logit at the start.
        embedding_size: Width of state 0, the word embedding; None where it is that of
            the other states.
    """

    kind: ProbeKind
    num_states: int
    hidden_size: int
    bottleneck_size: int
    bound: float = 10.0
    initial_bias: float = 3.0
    embedding_size: int | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of each state, index 0 first."""
        first = self.embedding_size or self.hidden_size
        return (first, *(self.hidden_size,) * (self.num_states - 1))


class Probe(nn.Module):
    """Gate logits of every state, and the baselines that replace what is masked.

    Rows of tensors that have one for each state are as wide as the widest state; that
    of a narrower one is filled from the left and zero behind.

    Attributes:
        shape: Sizes.
        baselines: `[1 or layers, hidden]` float32. One word embedding for an input
            probe, one state each for a hidden probe.
        mean: `[layers, hidden]` float32. Mean of each state over the training tokens.
        scale: `[layers, hidden]` float32. Its standard deviation, the same for all
            coordinates of a state.
    """

    baselines: nn.Parameter
    mean: Tensor
    scale: Tensor

    def __init__(self, shape: ProbeShape) -> None:
        super().__init__()
        self.shape = shape
        widths = shape.widths
        words = widths[0] if shape.kind == "input" else 0
        self.first = nn.ModuleList(
            weight_norm(nn.Linear(words + width, shape.bottleneck_size))
            for width in widths
        )
        self.second = nn.ModuleList(
            weight_norm(nn.Linear(shape.bottleneck_size, 1))
            for _ in range(shape.num_states)
        )
        self.bias = nn.Parameter(torch.full((shape.num_states,), shape.initial_bias))
        statistics = torch.zeros(shape.num_states, max(widths))
        baselines = torch.zeros(1, words) if words else torch.zeros_like(statistics)
        self.baselines = nn.Parameter(baselines)
        self.register_buffer("mean", statistics)
        self.register_buffer("scale", torch.ones_like(statistics))

    def gate_logits(self, hidden_states: Sequence[Tensor], state_index: int) -> Tensor:
        """Return the gate logits of one state's vote.

        Args:
            hidden_states: `layers` tensors `[batch, tokens, hidden]`.
            state_index: Which state votes, in [0, num_states).

        Returns:
            `[batch, tokens]` float32, within `bound` of the state's bias.
        """
        return self.bounded(self.scores(hidden_states, state_index), state_index)

    def bounded(self, scores: Tensor, state_index: int) -> Tensor:
        """Return the gate logits that one state's scores stand for, as many."""
        return self.shape.bound * torch.tanh(scores) + self.bias[state_index]

    def scores(self, hidden_states: Sequence[Tensor], state_index: int) -> Tensor:
        """Return what one state's network puts out, before it is bounded.

        Args:
            hidden_states: `layers` tensors `[batch, tokens, hidden]`.
            state_index: Which state votes, in [0, num_states).

        Returns:
            `[batch, tokens]` float32, unbounded.
        """
        features = self._standardised(hidden_states, state_index)
        if self.shape.kind == "input":
            words = self._standardised(hidden_states, 0)
            features = torch.cat([words, features], dim=-1)
        first, second = self.layers(state_index)
        scores: Tensor = second(torch.tanh(first(features))).squeeze(-1)
        return scores

    def layers(self, state_index: int) -> tuple[nn.Linear, nn.Linear]:
        """Return both layers of one state's network."""
        first, second = self.first[state_index], self.second[state_index]
        return cast(nn.Linear, first), cast(nn.Linear, second)

    def voters(self, state_index: int) -> range:
        """Return the states whose votes make one state's gates, multiplied."""
        first = 0 if self.shape.kind == "input" else state_index
        return range(first, state_index + 1)

    def site(self, state_index: int) -> int:
        """Return the state that one state's gates mask."""
        return 0 if self.shape.kind == "input" else state_index

    def baseline(self, state_index: int) -> Tensor:
        """Return the `[hidden]` vector that replaces a masked entry of one state."""
        if self.shape.kind == "input":
            return self.baselines[0]
        return self.baselines[state_index, : self.shape.widths[state_index]]

    def statistics(self, state_index: int) -> tuple[Tensor, Tensor]:
        """Return mean and scale of one state, both `[hidden]`."""
        width = self.shape.widths[state_index]
        return self.mean[state_index, :width], self.scale[state_index, :width]

    def _standardised(self, hidden_states: Sequence[Tensor], index: int) -> Tensor:
        mean, scale = self.statistics(index)
        return (hidden_states[index].float() - mean) / scale


def plain_state(probe: Probe) -> dict[str, Tensor]:
    """Return copies of a probe's tensors, safe from further training."""
    return {name: value.detach().clone() for name, value in probe.state_dict().items()}


def splice(
    state: Mapping[str, Tensor], other: Mapping[str, Tensor], state_index: int
) -> dict[str, Tensor]:
    """Return a hidden probe's tensors with one state's network and baseline replaced.

    Args:
        state: Tensors of a hidden probe, as `plain_state` returns them.
        other: Those of another of the same shape.
        state_index: Which state is taken from it.
    """
    spliced = dict(state)
    for name, tensor in other.items():
        if name.startswith((f"first.{state_index}.", f"second.{state_index}.")):
            spliced[name] = tensor
        elif name in {"bias", "baselines"}:
            spliced[name] = spliced[name].clone()
            spliced[name][state_index] = tensor[state_index]
    return spliced
