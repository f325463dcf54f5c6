"""The loop over epochs and steps, and nothing but the loop.

One step: capture every state of a batch in one plain run, mask each text at some states
in one further run, descend on the probe and ascend on the states' multipliers from the
same figures.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from diffmask_training.batches import Encoding, TensorBatch, shuffled_batches
from diffmask_training.config import FitConfig
from diffmask_training.dealt_runs import DealtRuns
from diffmask_training.duality import Duality, StepFigures
from diffmask_training.encoder import Encoder
from diffmask_training.errors import NonFiniteError
from diffmask_training.examiner import Examiner
from diffmask_training.lagrangian import Multipliers
from diffmask_training.masked_runs import MaskedRuns, TextFigures
from diffmask_training.pacing import Pacing
from diffmask_training.precision import in_bf16
from diffmask_training.primal import Primal
from diffmask_training.probes import Probe
from diffmask_training.sharing import Processes
from diffmask_training.stopwatch import Stopwatch


class Trainer:
    """Everything that changes during a fit.

    Attributes:
        config: Settings; margin and precision are settled.
        processes: Who takes part.
        encoder: The frozen model, float32.
        fast_encoder: The same in the precision of the fit.
        probe: What is fitted.
        pacing: What each state is asked for, and how many texts it sees.
        multipliers: One for each state.
        primal: Descends on probe and baselines.
        duality: Prices what the descent minimises, and ascends on the multipliers.
        examiner: Measures and mends between epochs.
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
        runs: type[MaskedRuns] = MaskedRuns,
    ) -> None:
        self.config = config
        self.processes = Processes() if processes is None else processes
        self.encoder = encoder.to(self.processes.device)
        self.fast_encoder = self.encoder
        if config.precision == "bf16":
            self.fast_encoder = in_bf16(
                self.encoder, max_tokens=config.max_train_tokens
            )
        self.probe = probe.to(self.processes.device)
        self.stopwatch = Stopwatch()
        self.epoch = 0
        self._pad_id = pad_id
        constraint, num_states = config.limit(), probe.shape.num_states
        self.pacing = Pacing(
            constraint,
            aim=config.aim,
            tolerance=config.tolerance,
            num_states=num_states,
        )
        self.multipliers = Multipliers(
            num_states, config.controller(), lookahead=config.lookahead
        )
        self.primal = Primal(self.probe, config.descent(total_steps))
        self.duality = Duality(
            config=config,
            constraint=constraint,
            pacing=self.pacing,
            multipliers=self.multipliers,
            states=encoder.states,
        )
        self.examiner = Examiner(
            config=config,
            constraint=constraint,
            encoder=self.encoder,
            probe=self.probe,
            pad_id=pad_id,
            processes=self.processes,
            stopwatch=self.stopwatch,
        )
        self._runs = DealtRuns(
            config,
            self.fast_encoder,
            self.probe,
            pacing=self.pacing,
            processes=self.processes,
            stopwatch=self.stopwatch,
            runs=runs,
        )

    def train_epoch(
        self, encodings: Sequence[Encoding]
    ) -> Iterator[tuple[StepFigures, ...]]:
        """Train for as many steps as an epoch has; yields the figures of each.

        Raises:
            NonFiniteError: The loss or a gradient is not finite.
        """
        batches = shuffled_batches(
            encodings,
            batch_size=self.config.batch_size,
            pad_id=self._pad_id,
            generator=self._runs.generator,
            num_texts=self.config.texts_an_epoch(len(encodings)),
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
        shown = tuple(
            self.duality.dual_step(index, parts) for index, parts in seen.items()
        )
        self.multipliers.end_round()
        with self.stopwatch.stage("step"):
            self._primal_step()
        return shown

    def accumulate(self, batch: TensorBatch) -> dict[int, list[TextFigures]]:
        """Run a step's texts, part by part, and add up the gradients.

        Returns:
            For each state, the figures of its texts in each part that holds any.
        """
        dealt = self._runs.deal(batch)
        seen: dict[int, list[TextFigures]] = {m.state_index: [] for m in dealt}
        for part in range(self.config.accumulation):
            figures_by_state = self._runs.run_part(batch, dealt, part)
            with self.stopwatch.stage("backward"):
                loss = torch.zeros((), device=self.processes.device)
                for masking in dealt:
                    index = masking.state_index
                    if index not in figures_by_state:
                        continue
                    figures = figures_by_state[index]
                    share = len(figures.divergence) / len(masking.texts)
                    loss = loss + share * self.duality.lagrangian(index, figures)
                    seen[index].append(figures)
                if loss.requires_grad:
                    torch.autograd.backward(loss / len(dealt))
        self.processes.add_gradients(self.primal.parameters)
        return seen

    def _primal_step(self) -> None:
        norms = self.primal.clip()
        if not bool(norms.isfinite().all()):
            index = int(norms.isfinite().int().argmin())
            raise self.duality.not_finite(index, "gradient")
        self.primal.step()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on."""
        return {
            "probe": self.probe.state_dict(),
            "primal": self.primal.state_dict(),
            "multipliers": self.multipliers.state_dict(),
            "pacing": self.pacing.state_dict(),
            "generator": self._runs.generator.get_state(),
            "epoch": self.epoch,
            "stopwatch": self.stopwatch.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.probe.load_state_dict(state["probe"])
        self.primal.load_state_dict(state["primal"])
        self.multipliers.load_state_dict(state["multipliers"])
        self.pacing.load_state_dict(state["pacing"])
        self._runs.generator.set_state(state["generator"])
        self.epoch = state["epoch"]
        self.stopwatch.load_state_dict(state["stopwatch"])
