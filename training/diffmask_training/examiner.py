"""What is measured and mended between epochs, on texts that the probe is not fitted to.

The main process does it and hands the result to all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffmask_training.batches import Encoding, TensorBatch, sorted_batches
from diffmask_training.calibration import calibrate
from diffmask_training.complement import complement_agreement
from diffmask_training.config import FitConfig
from diffmask_training.encoder import Encoder
from diffmask_training.figures import Figures
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.objective import Constraint
from diffmask_training.probes import Probe
from diffmask_training.sharing import Processes
from diffmask_training.stopwatch import Stopwatch
from diffmask_training.validation import validate

# A multiplier over the least by this factor was driven there by the constraint.
_BOUND_FACTOR = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Examiner:
    """Looks at hard masks of every state.

    Attributes:
        config: Settings; the margin is resolved.
        constraint: How far a masked prediction may stray.
        encoder: The frozen model, float32.
        probe: What is fitted.
        pad_id: Vocabulary index of the padding token.
        processes: Who takes part.
        stopwatch: Where the time goes.
    """

    config: FitConfig
    constraint: Constraint
    encoder: Encoder
    probe: Probe
    pad_id: int
    processes: Processes
    stopwatch: Stopwatch

    def validate(self, encodings: Sequence[Encoding]) -> Figures:
        """Validate every state with hard masks."""
        with self.stopwatch.stage("validation"):
            return self.processes.made_by_main(
                lambda: validate(
                    self.encoder,
                    self.probe,
                    self._sorted(encodings),
                    shape=HardConcreteShape(),
                    margin=self.config.margin,
                    quantile=self.constraint.asked_quantile,
                )
            )

    def complement_agreement(self, encodings: Sequence[Encoding]) -> tuple[float, ...]:
        """Return the share of predictions that the removed part gives too, by state."""
        with self.stopwatch.stage("validation"):
            return self.processes.made_by_main(
                lambda: complement_agreement(
                    self.encoder,
                    self.probe,
                    self._sorted(encodings),
                    shape=HardConcreteShape(),
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
                shape=HardConcreteShape(),
                limit=(1 + self.config.tolerance) * self.constraint.limit,
                is_bound=[multiplier > least for multiplier in multipliers],
            )
            return self.probe.bias.detach()

        with self.stopwatch.stage("calibration"), torch.no_grad():
            self.probe.bias.copy_(self.processes.made_by_main(shift))

    def _sorted(self, encodings: Sequence[Encoding]) -> Iterator[TensorBatch]:
        for batch in sorted_batches(encodings, batch_size=64, pad_id=self.pad_id):
            yield batch.to(self.processes.device)
