"""The probes of all states as a handful of plain products.

Standardisation and weight norms are folded into plain weights, and what reads the same
state is merged. At short texts an operator's start costs as much as its arithmetic, so
what counts is their number.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffmask_training.probes import Probe


class MergedProbes(nn.Module):
    """Both probes of every state in as few operators as they allow.

    All that reads the word embedding is one product. Of every other state, the input
    probe's own half and the hidden probe are another. What these put out is gathered
    to one inner layer, from which one product makes every score; in it stand the input
    probes of states 1, 2, and so on, that of state 0, then the hidden probes in order.

    Attributes:
        words: `hidden` to the word half of all input probes and the hidden probe of
            state 0, without bias.
        states: For each state from 1 on, `hidden` to its two probes, without bias.
        inner_bias: `[inner]` float32.
        scores: `inner` to the scores, `2 * layers`, input probes first.
        bound: `[2 * layers]` float32. Gate logits lie within this of the bias.
        bias: `[2 * layers]` float32.
    """

    inner_bias: Tensor
    bound: Tensor
    bias: Tensor

    def __init__(self, input_probe: Probe, hidden_probe: Probe) -> None:
        super().__init__()
        probes = (input_probe, hidden_probe)
        widths = input_probe.shape.widths
        every, others = range(len(widths)), range(1, len(widths))
        self.sizes = tuple(probe.shape.bottleneck_size for probe in probes)
        folded = [[_folded_first(probe, index) for index in every] for probe in probes]
        halves = [
            torch.split(weight, [widths[0], width], dim=1)
            for (weight, _), width in zip(folded[0], widths, strict=True)
        ]
        hidden = [weight for weight, _ in folded[1]]
        # At state 0 both halves of the input probe read the word embedding.
        word_halves = [
            *(halves[index][0] for index in others),
            halves[0][0] + halves[0][1],
        ]
        self.words = _linear(torch.cat([*word_halves, hidden[0]]))
        self.states = nn.ModuleList(
            _linear(torch.cat([halves[index][1], hidden[index]])) for index in others
        )
        inner = [(0, index) for index in (*others, 0)] + [(1, index) for index in every]
        score_biases = [p.layers(i)[1].bias.detach() for p in probes for i in every]
        self.scores = _linear(_block_diagonal(probes, inner), torch.cat(score_biases))
        inner_bias = torch.cat([folded[kind][index][1] for kind, index in inner])
        bound = torch.tensor([probe.shape.bound for probe in probes for _ in every])
        bias = torch.cat([probe.bias.detach() for probe in probes])
        self.register_buffer("inner_bias", inner_bias)
        self.register_buffer("bound", bound)
        self.register_buffer("bias", bias)

    def forward(self, hidden_states: tuple[Tensor, ...]) -> Tensor:
        """Return gate logits `[batch, 2 * layers, tokens]`, input probes first."""
        words = self.words(hidden_states[0])
        num_word_halves = len(self.states) * self.sizes[0]
        word_halves, of_state_0 = words.split(
            [num_word_halves, words.shape[-1] - num_word_halves], dim=-1
        )
        products = [
            layer(state).split(self.sizes, dim=-1)
            for layer, state in zip(self.states, hidden_states[1:], strict=True)
        ]
        own_halves = torch.cat([vote for vote, _ in products], dim=-1)
        inner = torch.cat(
            [word_halves + own_halves, of_state_0, *(hidden for _, hidden in products)],
            dim=-1,
        )
        scores = self.scores(torch.tanh(inner + self.inner_bias))
        return (self.bound * torch.tanh(scores) + self.bias).transpose(1, 2)


def _folded_first(probe: Probe, index: int) -> tuple[Tensor, Tensor]:
    # W ((h - mean) / scale) + b  =  (W / scale) h + (b - (W / scale) mean)
    layer, _ = probe.layers(index)
    mean, scale = probe.statistics(index)
    if probe.shape.kind == "input":
        words = probe.statistics(0)
        mean, scale = torch.cat([words[0], mean]), torch.cat([words[1], scale])
    weight = layer.weight.detach() / scale
    return weight, layer.bias.detach() - weight @ mean


def _block_diagonal(
    probes: Sequence[Probe], inner: Sequence[tuple[int, int]]
) -> Tensor:
    # Every output row where its own probe's part of the inner layer stands, else zero.
    num_states = len(inner) // 2
    rows = torch.zeros(
        len(inner), sum(probes[k].shape.bottleneck_size for k, _ in inner)
    )
    start = 0
    for kind, index in inner:
        weight = probes[kind].layers(index)[1].weight.detach()
        end = start + weight.shape[1]
        rows[kind * num_states + index, start:end] = weight[0]
        start = end
    return rows


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.contiguous(), requires_grad=False)
    return layer
