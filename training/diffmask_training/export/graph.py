"""The fused inference module: prediction and every gate from one forward pass."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from diffmask_training.encoder import Encoder
from diffmask_training.export.merged_probes import MergedProbes
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

    def forward(self, inputs: Mapping[str, Tensor], keep: Tensor) -> tuple[Tensor, ...]:
        """Predict and explain.

        Args:
            inputs: Model inputs, each `[batch, tokens]` int64; in `attention_mask`, 1
                stands for real tokens.
            keep: `[batch, tokens]` float32. 1 keeps a token's word embedding, 0 puts
                the baseline in its place.

        Returns:
            What the task makes of the logits, in the order of the bundle's output
            names; then expected input gate values and expected hidden gate values, both
            `[batch, layers, tokens]` in [0, 1]; all float32.
        """
        mixing = keep.unsqueeze(-1)  # [batch, tokens, 1]
        captured = self.encoder.capture(
            inputs, lambda words: mixing * words + (1 - mixing) * self.baseline
        )
        gate_logits = self.gates(captured.hidden_states)
        votes, hidden = log_keep_probability(gate_logits, self.shape).chunk(2, dim=1)
        # A cumulative product has no ONNX form; the sum of logarithms has, and is
        # stable.
        input_gates = torch.exp(torch.cumsum(votes, dim=1))
        predictions = self.encoder.task.split(captured.logits)
        return *predictions, input_gates, torch.exp(hidden)
