"""The loop over epochs and steps, and nothing but the loop.

One step: capture every state of a batch in one plain run, mask each text at some states
in one further run, descend on the probe and ascend on the states' multipliers from the
same figures.
"""

import copy
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffmask_training.batches import (
    Encoding,
    TensorBatch,
    shuffled_batches,
    sorted_batches,
)
from diffmask_training.calibration import calibrate
from diffmask_training.config import FitConfig
from diffmask_training.encoder import Captured, Encoder
from diffmask_training.figures import Figures
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.lagrangian import Multipliers
from diffmask_training.masking import mix, sampled_gates
from diffmask_training.objective import mean_over_tokens
from diffmask_training.pacing import Pacing
from diffmask_training.probes import Probe
from diffmask_training.validation import validate


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFigures:
    """What one masked run showed.

    Attributes:
        state_index: Which state.
        kept_share: Expected share of open gates, in (0, 1).
        divergence: Mean over the batch, nats.
        violation_rate: Share of texts over the margin, in [0, 1].
        multiplier: Of that state, after its step.
    """

    state_index: int
    kept_share: float
    divergence: float
    violation_rate: float
    multiplier: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Masked:
    """Some texts with one state replaced, ready to run.

    Attributes:
        state_index: Whose gates.
        inputs: As the batch has them, each `[batch, tokens]`.
        original: Float32 logits of the plain run.
        hidden_state: `[batch, tokens, hidden]` float32. What the model reads.
        keep_probability: `[batch, tokens]` float32 in (0, 1).
        energy: `[batch, tokens]` float32, >= 0. Mean square of the networks' scores.
    """

    state_index: int
    inputs: dict[str, Tensor]
    original: Tensor
    hidden_state: Tensor
    keep_probability: Tensor
    energy: Tensor

    @property
    def attention_mask(self) -> Tensor:
        """`[batch, tokens]` int64, 1 for real tokens."""
        return self.inputs["attention_mask"]


class Trainer:
    """Everything that changes during a fit.

    Attributes:
        config: Settings.
        encoder: The frozen model, float32.
        fast_encoder: The same in the precision of the fit.
        probe: What is fitted.
        multipliers: One for each state.
        constraint: How far a masked prediction may stray.
        pacing: What each state is asked for, and how many texts it sees.
        optimizer: AdamW over probe and baselines.
        generator: Source of all randomness: order, which text is masked at which
            state, votes.
        epoch: Epochs done.
        seconds_by_stage: Wall-clock time by stage, seconds.
    """

    def __init__(
        self,
        config: FitConfig,
        encoder: Encoder,
        probe: Probe,
        *,
        pad_id: int,
        total_steps: int,
    ) -> None:
        self.config = config
        self.encoder = encoder
        self.fast_encoder = encoder
        if config.precision == "bf16":
            # Weights are converted once; autocast would convert them at every run,
            # since it keeps only those that are trained.
            self.fast_encoder = Encoder(copy.deepcopy(encoder.model).bfloat16())
        self.probe = probe
        self.pad_id = pad_id
        self.shape = HardConcreteShape()
        self.constraint = config.limit()
        self.pacing = Pacing(
            self.constraint,
            aim=config.aim,
            tolerance=config.tolerance,
            num_states=probe.shape.num_states,
        )
        self.relaxation = config.relaxation
        self.multipliers = Multipliers(probe.shape.num_states, config.controller())
        networks = [p for n, p in probe.named_parameters() if n != "baselines"]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": networks, "lr": config.learning_rate},
                {"params": [probe.baselines], "lr": config.baseline_learning_rate},
            ],
            # A state's first divergences are large; under the usual 0.999 they would
            # hold its steps down for a thousand more, which is most of a fit.
            betas=(0.9, 0.98),
            weight_decay=0.0,
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: _rate(step, total_steps),
        )
        self.generator = torch.Generator().manual_seed(config.seed)
        self.epoch = 0
        self.seconds_by_stage: dict[str, float] = defaultdict(float)

    def train_epoch(
        self, encodings: Sequence[Encoding]
    ) -> Iterator[tuple[StepFigures, ...]]:
        """Pass once over the texts; yields the figures of each step."""
        batches = shuffled_batches(
            encodings,
            batch_size=self.config.batch_size,
            pad_id=self.pad_id,
            generator=self.generator,
        )
        for batch in batches:
            yield self.step(batch)
        self.epoch += 1

    def step(self, batch: TensorBatch) -> tuple[StepFigures, ...]:
        """Take one primal step, and one dual step for each state that sees a text.

        Every text is masked at `states_per_text` states.
        """
        with self._stage("capture"), torch.no_grad():
            captured = self.fast_encoder.capture(batch.inputs)
        texts_by_state = self.pacing.deal(
            len(batch.texts), self.config.states_per_text, self.generator
        )
        with self._stage("masked forward"):
            masked = [
                self._masked(batch, captured, index, texts)
                for index, texts in texts_by_state.items()
            ]
            logits = self._run(masked)
        with self._stage("backward"):
            loss = torch.zeros(())
            figures = []
            for part, part_logits in zip(masked, logits, strict=True):
                divergences = self.encoder.task.divergence(
                    part.original, part_logits, part.inputs
                )
                index = part.state_index
                sparsity = mean_over_tokens(part.keep_probability, part.attention_mask)
                energy = mean_over_tokens(part.energy, part.attention_mask)
                violation = (
                    self.constraint.bounded(divergences) - self.pacing.aims[index]
                )
                multiplier = self.multipliers.values[index]
                loss = loss + sparsity + multiplier * violation
                loss = loss + self.config.energy_weight * energy
                self.multipliers.dual_step(index, violation.item())
                figures.append(self._figures(index, sparsity, divergences))
            torch.autograd.backward(loss / len(masked))
        with self._stage("step"):
            # Each state by itself: together, one state's spike would scale down all.
            for index in range(self.probe.shape.num_states):
                for layer in self.probe.layers(index):
                    torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
            self.optimizer.zero_grad(set_to_none=True)
        return tuple(figures)

    def _masked(
        self, batch: TensorBatch, captured: Captured, index: int, texts: Tensor
    ) -> _Masked:
        states = tuple(state[texts] for state in captured.hidden_states)
        gates = sampled_gates(
            self.probe,
            states,
            index,
            self.shape,
            relaxation=self.relaxation,
            generator=self.generator,
        )
        return _Masked(
            state_index=index,
            inputs={name: value[texts] for name, value in batch.inputs.items()},
            original=captured.logits[texts].float(),
            hidden_state=mix(self.probe, states, index, gates.values),
            keep_probability=gates.keep_probability,
            energy=gates.energy,
        )

    def _run(self, masked: Sequence[_Masked]) -> list[Tensor]:
        # Parts come in rising order of state; input gates all act on state 0.
        names = masked[0].inputs
        inputs = {
            name: torch.cat([part.inputs[name] for part in masked]) for name in names
        }
        if self.probe.shape.kind == "input":
            entering = {0: torch.cat([part.hidden_state for part in masked])}
        else:
            entering = {part.state_index: part.hidden_state for part in masked}
        logits = self.fast_encoder.run_from_each(inputs, entering)
        return list(torch.split(logits, [len(part.original) for part in masked]))

    def validate(self, encodings: Sequence[Encoding]) -> Figures:
        """Validate every state with hard masks."""
        with self._stage("validation"):
            return validate(
                self.encoder,
                self.probe,
                sorted_batches(encodings, batch_size=64, pad_id=self.pad_id),
                shape=self.shape,
                margin=self.config.margin,
            )

    def calibrate(self, encodings: Sequence[Encoding]) -> None:
        """Shift biases until hard masks on these texts use the limit."""
        with self._stage("calibration"):
            calibrate(
                self.encoder,
                self.probe,
                list(sorted_batches(encodings, batch_size=64, pad_id=self.pad_id)),
                constraint=self.constraint,
                shape=self.shape,
                limit=(1 + self.config.tolerance) * self.constraint.limit,
            )

    @torch.no_grad()
    def initialise(self, encodings: Sequence[Encoding], mask_id: int) -> None:
        """Set the probe's statistics and baselines from some training texts.

        Args:
            encodings: The texts; a few hundred are enough.
            mask_id: Vocabulary index of the [MASK] token, whose embedding an input
                baseline starts from. A hidden baseline starts from its state's mean.
        """
        sums = torch.zeros(2, *self.probe.mean.shape)
        num_tokens = 0
        for batch in sorted_batches(encodings, batch_size=64, pad_id=self.pad_id):
            captured = self.encoder.capture(batch.inputs)
            mask = batch.attention_mask.bool()
            num_tokens += int(mask.sum())
            for index, state in enumerate(captured.hidden_states):
                tokens = state[mask].float()
                width = tokens.shape[-1]
                sums[0, index, :width] += tokens.sum(dim=0)
                sums[1, index, :width] += tokens.square().sum(dim=0)
        mean, square = sums / num_tokens
        # What a narrower state leaves of its row is zero and adds nothing.
        widths = torch.tensor(self.probe.shape.widths).unsqueeze(-1)
        variance = (square - mean.square()).sum(dim=1, keepdim=True) / widths
        self.probe.mean.copy_(mean)
        # One scale a state: some coordinates hardly vary, and dividing by their own
        # would make noise of them, more so in reduced precision.
        self.probe.scale.copy_(variance.sqrt().expand_as(mean))
        if self.probe.shape.kind == "hidden":
            self.probe.baselines.copy_(mean)
        else:
            words = self.encoder.model.get_input_embeddings()
            self.probe.baselines.copy_(words.weight[mask_id].unsqueeze(0))

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on."""
        return {
            "probe": self.probe.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "multipliers": self.multipliers.state_dict(),
            "pacing": self.pacing.state_dict(),
            "generator": self.generator.get_state(),
            "epoch": self.epoch,
            "seconds_by_stage": dict(self.seconds_by_stage),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.probe.load_state_dict(state["probe"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.multipliers.load_state_dict(state["multipliers"])
        self.pacing.load_state_dict(state["pacing"])
        self.generator.set_state(state["generator"])
        self.epoch = state["epoch"]
        self.seconds_by_stage.update(state["seconds_by_stage"])

    def _figures(
        self, index: int, sparsity: Tensor, divergences: Tensor
    ) -> StepFigures:
        return StepFigures(
            state_index=index,
            kept_share=float(sparsity.detach()),
            divergence=float(divergences.detach().mean()),
            violation_rate=float((divergences > self.config.margin).float().mean()),
            multiplier=self.multipliers.values[index],
        )

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds_by_stage[name] += time.perf_counter() - start


def _rate(step: int, total_steps: int) -> float:
    # Falls linearly to a twentieth, so that hard masks settle before they are chosen.
    return 0.05 + 0.95 * max(1.0 - step / total_steps, 0.0)
