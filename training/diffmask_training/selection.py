"""Which epoch's probe a fit keeps: sound first, then feasible, then sparsest."""

from dataclasses import dataclass

from torch import Tensor

from diffmask_training.figures import Figures
from diffmask_training.probes import plain_state
from diffmask_training.trainer import Trainer
from diffmask_training.verdict import (
    is_collapsed,
    shares_of_limit,
    states_over_limit,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The probe at the end of an epoch.

    Attributes:
        epoch: Counted from 1.
        is_feasible: Whether every state kept within the limit.
        is_collapsed: Whether some state keeps or drops hardly a token.
        cost: What epochs are ranked by; smaller is better.
        multipliers: Of each state at its end.
        state: The probe's tensors.
    """

    epoch: int
    is_feasible: bool
    is_collapsed: bool
    cost: float
    multipliers: tuple[float, ...]
    state: dict[str, Tensor]

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Sort key: sound first, then feasible, then cheapest."""
        return (self.is_collapsed, not self.is_feasible, self.cost)


def assess(trainer: Trainer, figures: Figures) -> Candidate:
    """Return the trainer's probe as a candidate.

    Args:
        trainer: At the end of an epoch.
        figures: Its validation there.
    """
    worst = max(shares_of_limit(figures, trainer.config).values())
    is_feasible = not states_over_limit(figures, trainer.config)
    return Candidate(
        epoch=trainer.epoch,
        is_feasible=is_feasible,
        is_collapsed=is_collapsed([state.kept_share for state in figures.states]),
        cost=figures.mean("kept_share") if is_feasible else worst,
        multipliers=tuple(trainer.multipliers.values),
        state=plain_state(trainer.probe),
    )
