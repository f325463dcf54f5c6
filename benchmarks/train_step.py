"""What one optimisation step costs for each state that it visits, against the paper's.

Two loops fit the same probe on the same batch, interleaved so that they meet the same
machine:

- ours: one plain run, then every text masked at several states in one further run, one
  step of the probe and one of each multiplier (`diffmask_training.trainer`);
- published: the loop of De Cao et al. 2020 written anew from its description. A batch
  is run four times: plainly and masked for the probe's step, then once more each for
  the multiplier's, at a state drawn anew; every run is of the whole model, whatever
  state is masked; RMSprop under Lookahead.

Both in float32. Prints medians of the ratios of neighbouring steps, each divided by the
states that its step visits: the published loop visits one for the probe.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

from diffmask_training.batches import Encoding, collate
from diffmask_training.classifier import load_classifier
from diffmask_training.config import FitConfig
from diffmask_training.encoder import Encoder
from diffmask_training.families import state_modules
from diffmask_training.hard_concrete import (
    HardConcreteShape,
    log_keep_probability,
    sample,
)
from diffmask_training.hooks import tapped
from diffmask_training.masking import mix
from diffmask_training.probes import Probe, ProbeKind, ProbeShape
from diffmask_training.trainer import Trainer

_SYNC_STEPS = 6
_SLOW_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one step took, for each state that it visits.

    Attributes:
        wall_seconds: By the clock.
        cpu_seconds: Of the processor, for the whole process.
    """

    wall_seconds: float
    cpu_seconds: float


class Lookahead:
    """Slow weights that follow an optimizer's every few steps (Zhang et al. 2019)."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._fast = [p for group in optimizer.param_groups for p in group["params"]]
        self._slow = [parameter.detach().clone() for parameter in self._fast]
        self._steps = 0

    @torch.no_grad()
    def step(self) -> None:
        """Take a fast step, and every sixth time move the slow weights."""
        self._optimizer.step()
        self._steps += 1
        if self._steps % _SYNC_STEPS:
            return
        for fast, slow in zip(self._fast, self._slow, strict=True):
            slow.lerp_(fast, _SLOW_SHARE)
            fast.copy_(slow)


class PublishedLoop:
    """One batch after another, as the paper's code takes them."""

    def __init__(self, encoder: Encoder, probe: Probe) -> None:
        self._encoder = encoder
        self._modules = [module for _, module in state_modules(encoder.model)]
        self._probe = probe
        self._shape = HardConcreteShape()
        self._margin = 0.1
        self._generator = torch.Generator().manual_seed(0)
        self._multipliers = torch.ones(encoder.num_states, requires_grad=True)
        networks = [p for n, p in probe.named_parameters() if n != "baselines"]
        groups = [
            {"params": networks, "lr": 3e-4},
            {"params": [probe.baselines], "lr": 1e-3},
        ]
        self._primal = Lookahead(torch.optim.RMSprop(groups, centered=True))
        self._dual = Lookahead(torch.optim.RMSprop([self._multipliers], lr=0.3))

    def step(self, inputs: dict[str, Tensor]) -> None:
        """Take one step of the probe, then one of the multipliers."""
        self._probe.requires_grad_()
        self._probe.zero_grad()
        loss, violation, index = self._run(inputs)
        (self._multipliers[index].detach() * violation + loss).backward()
        self._primal.step()
        # Only what an optimizer moves has gradients while it is its turn.
        self._probe.requires_grad_(requires_grad=False)
        self._multipliers.grad = None
        _, violation, index = self._run(inputs)
        (-self._multipliers[index] * violation).backward()
        self._dual.step()
        with torch.no_grad():
            self._multipliers.clamp_(0, 200)

    def _run(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor, int]:
        with torch.no_grad():
            captured = self._encoder.capture(inputs)
        states = captured.hidden_states
        num_states = len(states)
        index = int(torch.randint(num_states, (), generator=self._generator))
        is_input = self._probe.shape.kind == "input"
        voters = range(0 if is_input else index, index + 1)
        logits = torch.stack([self._probe.gate_logits(states, v) for v in voters])
        gates = sample(logits, self._shape, self._generator).prod(dim=0)
        mixed = mix(self._probe, states, index, gates)
        masked = self._run_whole(inputs, 0 if is_input else index, mixed)
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


def main() -> None:
    """Measure both kinds of probe and print one table."""
    arguments = _parse()
    torch.set_num_threads(arguments.threads)
    encoder = _encoder(arguments)
    batch = collate(
        _texts(encoder, num_texts=arguments.batch, num_tokens=arguments.tokens),
        pad_id=0,
    )
    print(
        f"{encoder.num_states} states of {encoder.hidden_size},"
        f" {arguments.batch} texts of {arguments.tokens} tokens,"
        f" {arguments.threads} threads, torch {torch.__version__}"
    )
    print(
        f"{'gates':>6} | {'ours':>8} {'published':>9} CPU s a state |"
        f" {'ours/published':>14} {'CPU':>6}"
    )
    for kind in get_args(ProbeKind):
        config = FitConfig(kind=kind, batch_size=arguments.batch)
        probe = _probe(encoder, kind)
        published = PublishedLoop(encoder, copy.deepcopy(probe))
        trainer = Trainer(
            config, encoder, probe, pad_id=0, total_steps=arguments.rounds
        )
        pairs = []
        for _ in range(arguments.rounds):
            ours = _timed(lambda t=trainer: t.step(batch), config.states_per_text)
            theirs = _timed(lambda p=published: p.step(batch.inputs), 1)
            pairs.append((ours, theirs))
        print(_row(kind, pairs), flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--checkpoint", type=Path, help="a classifier [a random 6-layer BERT]"
    )
    parser.add_argument("--batch", type=int, default=16, help="texts [%(default)s]")
    parser.add_argument(
        "--tokens", type=int, default=32, help="of a text [%(default)s]"
    )
    parser.add_argument("--rounds", type=int, default=30, help="steps [%(default)s]")
    parser.add_argument("--threads", type=int, default=2, help="[%(default)s]")
    return parser.parse_args()


def _encoder(arguments: argparse.Namespace) -> Encoder:
    if arguments.checkpoint is not None:
        return load_classifier(arguments.checkpoint).encoder
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
    )
    return Encoder(BertForSequenceClassification(config))


def _probe(encoder: Encoder, kind: ProbeKind) -> Probe:
    torch.manual_seed(0)
    return Probe(
        ProbeShape(
            kind=kind,
            num_states=encoder.num_states,
            hidden_size=encoder.hidden_size,
            embedding_size=encoder.embedding_size,
            bottleneck_size=encoder.hidden_size // 4,
        )
    )


def _texts(encoder: Encoder, *, num_texts: int, num_tokens: int) -> list[Encoding]:
    generator = torch.Generator().manual_seed(0)
    size = encoder.model.config.vocab_size
    ids = torch.randint(1, size, (num_texts, num_tokens), generator=generator)
    return [
        Encoding(input_ids=tuple(row), token_type_ids=(0,) * num_tokens, label=0)
        for row in ids.tolist()
    ]


def _timed(step: Callable[[], object], num_states: int) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return Cost(
        wall_seconds=(time.perf_counter() - wall) / num_states,
        cpu_seconds=(time.process_time() - cpu) / num_states,
    )


def _row(kind: str, pairs: list[tuple[Cost, Cost]]) -> str:
    def median(values: list[float]) -> float:
        return statistics.median(values)

    return (
        f"{kind:>6} | {median([o.cpu_seconds for o, _ in pairs]):8.4f}"
        f" {median([p.cpu_seconds for _, p in pairs]):9.4f}               |"
        f" {median([o.wall_seconds / p.wall_seconds for o, p in pairs]):14.2f}"
        f" {median([o.cpu_seconds / p.cpu_seconds for o, p in pairs]):6.2f}"
    )


if __name__ == "__main__":
    main()
