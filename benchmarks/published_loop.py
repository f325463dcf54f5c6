"""The training loop of De Cao et al. 2020, written anew from its description.

A batch is run four times: plainly and masked for the probe's step, then once more each
for the multiplier's, at a state drawn anew; every run is of the whole model, whatever
state is masked; RMSprop under Lookahead.
"""

import torch
from torch import Tensor, nn

from diffmask_training.encoder import Encoder
from diffmask_training.experiments.toy.published import Lookahead
from diffmask_training.families import state_modules
from diffmask_training.hard_concrete import (
    HardConcreteShape,
    log_keep_probability,
    sample,
)
from diffmask_training.hooks import tapped
from diffmask_training.masking import mix
from diffmask_training.probes import Probe


class PublishedLoop:
    """One batch after another, as the paper's code takes them."""

    def __init__(self, encoder: Encoder, probe: Probe) -> None:
        self._encoder = encoder
        self._modules = [module for _, module in state_modules(encoder.model)]
        self._probe = probe
        self._shape = HardConcreteShape()
        self._margin = 0.1
        self._generator = torch.Generator().manual_seed(0)
        self._multipliers = nn.Parameter(torch.ones(encoder.num_states))
        networks = [p for n, p in probe.named_parameters() if n != "baselines"]
        groups = [
            {"params": networks, "lr": 3e-4},
            {"params": [probe.baselines], "lr": 1e-3},
        ]
        self._primal = torch.optim.RMSprop(groups, centered=True)
        self._dual = torch.optim.RMSprop([self._multipliers], lr=0.3)
        self._slow_primal = Lookahead([*networks, probe.baselines])
        self._slow_dual = Lookahead([self._multipliers])

    def step(self, inputs: dict[str, Tensor]) -> None:
        """Take one step of the probe, then one of the multipliers."""
        self._probe.requires_grad_()
        self._probe.zero_grad()
        loss, violation, index = self._run(inputs)
        torch.autograd.backward(self._multipliers[index].detach() * violation + loss)
        self._primal.step()
        self._slow_primal.step()
        # Only what an optimizer moves has gradients while it is its turn.
        self._probe.requires_grad_(requires_grad=False)
        self._multipliers.grad = None
        _, violation, index = self._run(inputs)
        torch.autograd.backward(-self._multipliers[index] * violation)
        self._dual.step()
        self._slow_dual.step()
        with torch.no_grad():
            self._multipliers.clamp_(0, 200)

    def _run(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor, int]:
        with torch.no_grad():
            captured = self._encoder.capture(inputs)
        states = captured.hidden_states
        num_states = len(states)
        index = int(torch.randint(num_states, (), generator=self._generator))
        voters = self._probe.voters(index)
        logits = torch.stack([self._probe.gate_logits(states, v) for v in voters])
        gates = sample(logits, self._shape, self._generator).prod(dim=0)
        mixed = mix(self._probe, states, index, gates)
        masked = self._run_whole(inputs, self._probe.site(index), mixed)
        mask = inputs["attention_mask"].float()
        sparsity = log_keep_probability(logits, self._shape).sum(dim=0)
        loss = ((sparsity * mask).sum(dim=-1) / mask.sum(dim=-1)).mean()
        task = self._encoder.task
        distances = task.divergence(captured.logits, masked, inputs)
        violation = distances.mean() - self._margin
        return loss, violation, index

    def _run_whole(self, inputs: dict[str, Tensor], site: int, state: Tensor) -> Tensor:
        def replace(index: int, found: Tensor) -> Tensor:
            return state if index == site else found

        with tapped(self._modules, replace):
            outputs = self._encoder.model(
                **{n: inputs[n] for n in self._encoder.inputs}
            )
        logits: Tensor = outputs.logits
        return logits
