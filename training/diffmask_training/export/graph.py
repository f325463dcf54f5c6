"""The fused inference module: logits and every gate from one forward pass.

Standardisation and weight norms are folded into plain weights, and the two probes of a
state are merged: the look-up half of all input probes is one product, the other half of
an input probe and the hidden probe of the same state are another.
"""

import torch
from torch import Tensor, nn

from diffmask_training.encoder import Encoder
from diffmask_training.hard_concrete import HardConcreteShape, log_keep_probability
from diffmask_training.probes import Probe


class FusedModule(nn.Module):
    """A classifier with both probes, as the service runs it.

    Attributes:
        encoder: The frozen model.
        baseline: `[hidden]` float32. Word embedding of a token that is not kept.
    """

    baseline: Tensor

    def __init__(
        self,
        encoder: Encoder,
        input_probe: Probe,
        hidden_probe: Probe,
        shape: HardConcreteShape,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.gates = MergedProbes(input_probe, hidden_probe)
        self.shape = shape
        self.register_buffer("baseline", input_probe.baselines[0].detach().clone())

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        keep: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Predict and explain.

        Args:
            input_ids: `[batch, tokens]` int64.
            attention_mask: `[batch, tokens]` int64, 1 for real tokens.
            token_type_ids: `[batch, tokens]` int64.
            keep: `[batch, tokens]` float32. 1 keeps a token's word embedding, 0 puts
                the baseline in its place.

        Returns:
            Logits `[batch, labels]`, expected input gate values and expected hidden
            gate values, both `[batch, layers, tokens]` in [0, 1]; all float32.
        """
        mixing = keep.unsqueeze(-1)  # [batch, tokens, 1]
        captured = self.encoder.capture(
            {
                "input_ids": input_ids,
                "attention_mask": attention_mask,
                "token_type_ids": token_type_ids,
            },
            lambda words: mixing * words + (1 - mixing) * self.baseline,
        )
        input_logits, hidden_logits = self.gates(captured.hidden_states)
        # A cumulative product has no ONNX form; the sum of logarithms has, and is
        # stable.
        votes = log_keep_probability(input_logits, self.shape)
        input_gates = torch.exp(torch.cumsum(votes, dim=1))
        hidden_gates = torch.exp(log_keep_probability(hidden_logits, self.shape))
        return captured.logits, input_gates, hidden_gates


class MergedProbes(nn.Module):
    """Both probes of every state in as few products as they allow.

    Attributes:
        words: Look-up half of all input probes, `hidden` to `layers * bottleneck`.
        first: For each state, the other half of its input probe above its hidden probe.
        second: For each state, both output rows, each zero on the other's half.
        input_bias: `[layers]` float32.
        hidden_bias: `[layers]` float32.
    """

    input_bias: Tensor
    hidden_bias: Tensor

    def __init__(self, input_probe: Probe, hidden_probe: Probe) -> None:
        super().__init__()
        hidden = input_probe.shape.hidden_size
        self.bottleneck = input_probe.shape.bottleneck_size
        self.bounds = (input_probe.shape.bound, hidden_probe.shape.bound)
        words, first, second = [], [], []
        for index in range(input_probe.shape.num_states):
            weight, offset = _folded_first(input_probe, index)
            hidden_weight, hidden_offset = _folded_first(hidden_probe, index)
            words.append(_linear(weight[:, :hidden], offset))
            first.append(
                _linear(
                    torch.cat([weight[:, hidden:], hidden_weight]),
                    torch.cat([torch.zeros_like(offset), hidden_offset]),
                )
            )
            second.append(_both_outputs(input_probe, hidden_probe, index))
        self.words = _linear(
            torch.cat([layer.weight for layer in words]),
            torch.cat([layer.bias for layer in words]),
        )
        self.first = nn.ModuleList(first)
        self.second = nn.ModuleList(second)
        self.register_buffer("input_bias", input_probe.bias.detach().clone())
        self.register_buffer("hidden_bias", hidden_probe.bias.detach().clone())

    def forward(self, hidden_states: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return input and hidden gate logits, each `[batch, layers, tokens]`."""
        words = self.words(hidden_states[0]).split(self.bottleneck, dim=-1)
        outer = []
        for index, state in enumerate(hidden_states):
            both = self.first[index](state)
            mine, hidden = both.tensor_split([self.bottleneck], dim=-1)
            inner = torch.cat([mine + words[index], hidden], dim=-1)
            outer.append(self.second[index](torch.tanh(inner)))
        logits = torch.tanh(torch.stack(outer, dim=1))  # [batch, layers, tokens, 2]
        input_logits = self.bounds[0] * logits[..., 0] + self.input_bias[:, None]
        hidden_logits = self.bounds[1] * logits[..., 1] + self.hidden_bias[:, None]
        return input_logits, hidden_logits


def _folded_first(probe: Probe, index: int) -> tuple[Tensor, Tensor]:
    # W ((h - mean) / scale) + b  =  (W / scale) h + (b - (W / scale) mean)
    layer, _ = probe.layers(index)
    mean, scale = probe.mean[index], probe.scale[index]
    if probe.shape.kind == "input":
        mean = torch.cat([probe.mean[0], mean])
        scale = torch.cat([probe.scale[0], scale])
    weight = layer.weight.detach() / scale
    return weight, layer.bias.detach() - weight @ mean


def _both_outputs(input_probe: Probe, hidden_probe: Probe, index: int) -> nn.Linear:
    rows = [probe.layers(index)[1] for probe in (input_probe, hidden_probe)]
    upper, lower = (row.weight.detach() for row in rows)
    weight = torch.cat(
        [
            torch.cat([upper, torch.zeros(1, lower.shape[1])], dim=1),
            torch.cat([torch.zeros(1, upper.shape[1]), lower], dim=1),
        ]
    )
    return _linear(weight, torch.cat([row.bias.detach() for row in rows]))


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    layer.bias = nn.Parameter(bias.contiguous(), requires_grad=False)
    return layer
