"""The loop over epochs and steps, and nothing but the loop.

One step: capture every state of a batch in one plain run, mask each text at some states
in one further run, descend on the probe and ascend on the states' multipliers from the
same figures.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from diffmask_training.batches import (
    Encoding,
    TensorBatch,
    shuffled_batches,
    sorted_batches,
)
from diffmask_training.calibration import calibrate
from diffmask_training.complement import complement_agreement
from diffmask_training.config import FitConfig
from diffmask_training.encoder import Encoder
from diffmask_training.errors import NonFiniteError
from diffmask_training.figures import Figures
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.lagrangian import Multipliers
from diffmask_training.masked_runs import MaskedRuns, Masking, TextFigures
from diffmask_training.masking import draw_noise
from diffmask_training.pacing import Pacing
from diffmask_training.primal import Primal
from diffmask_training.probes import Probe
from diffmask_training.sharing import Processes, Rows, Sharing
from diffmask_training.stopwatch import Stopwatch
from diffmask_training.validation import validate

# A multiplier over the least by this factor was driven there by the constraint.
_BOUND_FACTOR = 1.5


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


class Trainer:
    """Everything that changes during a fit.

    Attributes:
        config: Settings; the margin is resolved.
        encoder: The frozen model, float32.
        fast_encoder: The same in the precision of the fit.
        probe: What is fitted.
        multipliers: One for each state.
        constraint: How far a masked prediction may stray.
        pacing: What each state is asked for, and how many texts it sees.
        primal: Descends on probe and baselines.
        generator: Source of all randomness: order, which text is masked at which
            state, votes. The same in every process.
        epoch: Epochs done.
        stopwatch: Where the time goes.
    """

    def __init__(
        self,
        config: FitConfig,
        encoder: Encoder,
        probe: Probe,
        *,
        pad_id: int,
        total_steps: int,
        processes: Processes | None = None,
    ) -> None:
        self.config = config
        self.processes = Processes() if processes is None else processes
        self.encoder = encoder.to(self.processes.device)
        self.fast_encoder = self.encoder
        if config.precision == "bf16":
            # Weights are converted once; autocast would convert them at every run,
            # since it keeps only those that are trained.
            self.fast_encoder = Encoder(copy.deepcopy(encoder.model).bfloat16())
            self.fast_encoder.task = encoder.task
        self.probe = probe.to(self.processes.device)
        self.pad_id = pad_id
        self.shape = HardConcreteShape()
        self.constraint = config.limit()
        self.pacing = Pacing(
            self.constraint,
            aim=config.aim,
            tolerance=config.tolerance,
            num_states=probe.shape.num_states,
        )
        self.multipliers = Multipliers(
            probe.shape.num_states, config.controller(), lookahead=config.lookahead
        )
        self.primal = Primal(self.probe, config.descent(total_steps))
        self.runs = MaskedRuns(
            self.fast_encoder,
            self.probe,
            relaxation=config.relaxation,
            sparsity=config.sparsity,
            with_complement=config.complement_weight > 0,
        )
        self.sharing = Sharing(
            num_parts=config.accumulation,
            num_processes=self.processes.count,
            process_index=self.processes.index,
        )
        self.generator = torch.Generator().manual_seed(config.seed)
        self.epoch = 0
        self.stopwatch = Stopwatch()

    def train_epoch(
        self, encodings: Sequence[Encoding]
    ) -> Iterator[tuple[StepFigures, ...]]:
        """Pass once over the texts; yields the figures of each step.

        Raises:
            NonFiniteError: The loss or a gradient is not finite.
        """
        batches = shuffled_batches(
            encodings,
            batch_size=self.config.batch_size,
            pad_id=self.pad_id,
            generator=self.generator,
        )
        for number, batch in enumerate(batches, start=1):
            try:
                yield self.step(batch)
            except NonFiniteError as error:
                raise NonFiniteError(
                    f"epoch {self.epoch + 1}, step {number}: {error}"
                ) from error
        self.epoch += 1

    def step(self, batch: TensorBatch) -> tuple[StepFigures, ...]:
        """Take one primal step, and one dual step for each state that sees a text.

        Raises:
            NonFiniteError: The loss or a gradient is not finite.
        """
        seen = self.accumulate(batch)
        shown = tuple(self._dual_step(index, parts) for index, parts in seen.items())
        self.multipliers.end_round()
        with self.stopwatch.stage("step"):
            self._primal_step()
        return shown

    def accumulate(self, batch: TensorBatch) -> dict[int, list[TextFigures]]:
        """Run a step's texts, part by part, and add up the gradients.

        Returns:
            For each state, the figures of its texts in each part that holds any.
        """
        dealt = self._deal(batch)
        seen: dict[int, list[TextFigures]] = {m.state_index: [] for m in dealt}
        for part in range(self.config.accumulation):
            figures_by_state = self._run_part(batch, dealt, part)
            with self.stopwatch.stage("backward"):
                loss = torch.zeros((), device=self.processes.device)
                for masking in dealt:
                    index = masking.state_index
                    if index not in figures_by_state:
                        continue
                    figures = figures_by_state[index]
                    share = len(figures.divergence) / len(masking.texts)
                    loss = loss + share * self._lagrangian(index, figures)
                    seen[index].append(figures)
                if loss.requires_grad:
                    torch.autograd.backward(loss / len(dealt))
        self.processes.add_gradients(self.primal.parameters)
        return seen

    def _deal(self, batch: TensorBatch) -> list[Masking]:
        num_texts, num_tokens = batch.attention_mask.shape
        if self.config.dealing == "single":
            texts_by_state = self.pacing.deal_single(num_texts, self.generator)
        else:
            texts_by_state = self.pacing.deal(
                num_texts, self.config.states_per_text, self.generator
            )
        return [
            Masking(
                state_index=index,
                texts=texts,
                noise=draw_noise(
                    self.probe,
                    index,
                    num_texts=len(texts),
                    num_tokens=num_tokens,
                    generator=self.generator,
                ),
            )
            for index, texts in texts_by_state.items()
        ]

    def _run_part(
        self, batch: TensorBatch, dealt: Sequence[Masking], part: int
    ) -> dict[int, TextFigures]:
        # Figures of all processes' texts of one part of the step, by state.
        own = batch.rows(self.sharing.texts(len(batch.attention_mask), part))
        inputs = own.to(self.processes.device).inputs
        rows = {m.state_index: self.sharing.rows(m.texts, part) for m in dealt}
        maskings = [
            Masking(
                state_index=m.state_index,
                texts=rows[m.state_index].texts,
                noise=m.noise.rows(rows[m.state_index].noise),
            )
            for m in dealt
            if len(rows[m.state_index].texts)
        ]
        figures: list[TextFigures] = []
        if maskings:
            with self.stopwatch.stage("capture"), torch.no_grad():
                captured = self.fast_encoder.capture(inputs)
            with self.stopwatch.stage("masked forward"):
                figures = self.runs.run(inputs, captured, maskings)
        own_by_state = {
            m.state_index: f.stacked() for m, f in zip(maskings, figures, strict=True)
        }
        return self._exchanged(own_by_state, rows)

    def _exchanged(
        self, own_by_state: Mapping[int, Tensor], rows_by_state: Mapping[int, Rows]
    ) -> dict[int, TextFigures]:
        places: list[Tensor] = []
        values: list[Tensor] = []
        counts: list[int] = []
        for index, rows in rows_by_state.items():
            places.append(rows.places + sum(counts))
            counts.append(rows.count)
            if index in own_by_state:
                values.append(own_by_state[index])
        device = self.processes.device
        whole = self.processes.exchange(
            torch.cat(values, dim=-1) if values else torch.zeros(5, 0, device=device),
            torch.cat(places).to(device),
            sum(counts),
        )
        return {
            index: TextFigures.unstacked(figures)
            for index, figures in zip(
                rows_by_state, torch.split(whole, counts, dim=-1), strict=True
            )
            if figures.shape[-1]
        }

    def _lagrangian(self, index: int, figures: TextFigures) -> Tensor:
        config = self.config
        violation = (
            self.constraint.bounded(figures.divergence) - self.pacing.aims[index]
        )
        loss = figures.sparsity.mean() + self.multipliers.values[index] * violation
        loss = loss + config.energy_weight * figures.energy.mean()
        if config.complement_weight:
            short = functional.relu(config.complement_margin - figures.complement)
            loss = loss + config.complement_weight * short.mean()
        return loss

    def _dual_step(self, index: int, parts: Sequence[TextFigures]) -> StepFigures:
        divergences = torch.cat([part.divergence.detach() for part in parts])
        kept_shares = torch.cat([part.kept_share.detach() for part in parts])
        shares = [len(part.divergence) / len(divergences) for part in parts]
        bounded = torch.stack(
            [
                share * self.constraint.bounded(part.divergence.detach())
                for share, part in zip(shares, parts, strict=True)
            ]
        ).sum()
        violation = float(bounded - self.pacing.aims[index])
        if not math.isfinite(violation):
            raise self._not_finite(index, "loss")
        self.multipliers.dual_step(index, violation)
        return StepFigures(
            state_index=index,
            kept_share=float(kept_shares.mean()),
            divergence=float(divergences.mean()),
            violation_rate=float((divergences > self.config.margin).float().mean()),
            multiplier=self.multipliers.values[index],
        )

    def _primal_step(self) -> None:
        norms = self.primal.clip()
        if not bool(norms.isfinite().all()):
            raise self._not_finite(int(norms.isfinite().int().argmin()), "gradient")
        self.primal.step()

    def _not_finite(self, index: int, what: str) -> NonFiniteError:
        return NonFiniteError(
            f"the {what} of state {self.encoder.states[index]} is not finite; lower"
            " --learning-rate, or use --precision fp32 or --optimizer adamw. The last"
            " epoch's checkpoint is as it was"
        )

    def validate(self, encodings: Sequence[Encoding]) -> Figures:
        """Validate every state with hard masks."""
        with self.stopwatch.stage("validation"):
            return self.processes.made_by_main(
                lambda: validate(
                    self.encoder,
                    self.probe,
                    self._sorted(encodings),
                    shape=self.shape,
                    margin=self.config.margin,
                    quantile=self.constraint.asked_quantile,
                )
            )

    def complement_agreement(self, encodings: Sequence[Encoding]) -> tuple[float, ...]:
        """Return the share of predictions that the removed part gives too, by state."""
        with self.stopwatch.stage("validation"):
            return self.processes.made_by_main(
                lambda: complement_agreement(
                    self.encoder, self.probe, self._sorted(encodings), shape=self.shape
                )
            )

    def calibrate(
        self, encodings: Sequence[Encoding], multipliers: Sequence[float]
    ) -> None:
        """Shift biases until hard masks on these texts use the limit.

        Args:
            encodings: The texts.
            multipliers: Of each state, when the probe was as it is now.
        """
        least = _BOUND_FACTOR * self.config.min_multiplier

        def shift() -> Tensor:
            calibrate(
                self.encoder,
                self.probe,
                list(self._sorted(encodings)),
                constraint=self.constraint,
                shape=self.shape,
                limit=(1 + self.config.tolerance) * self.constraint.limit,
                is_bound=[multiplier > least for multiplier in multipliers],
            )
            return self.probe.bias.detach()

        with self.stopwatch.stage("calibration"), torch.no_grad():
            self.probe.bias.copy_(self.processes.made_by_main(shift))

    def _sorted(self, encodings: Sequence[Encoding]) -> Iterator[TensorBatch]:
        for batch in sorted_batches(encodings, batch_size=64, pad_id=self.pad_id):
            yield batch.to(self.processes.device)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on."""
        return {
            "probe": self.probe.state_dict(),
            "primal": self.primal.state_dict(),
            "multipliers": self.multipliers.state_dict(),
            "pacing": self.pacing.state_dict(),
            "generator": self.generator.get_state(),
            "epoch": self.epoch,
            "stopwatch": self.stopwatch.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.probe.load_state_dict(state["probe"])
        self.primal.load_state_dict(state["primal"])
        self.multipliers.load_state_dict(state["multipliers"])
        self.pacing.load_state_dict(state["pacing"])
        self.generator.set_state(state["generator"])
        self.epoch = state["epoch"]
        self.stopwatch.load_state_dict(state["stopwatch"])
