"""What each state is asked for, and how many texts it sees, from epoch to epoch.

Validation diverges more than training: its masks are hard, and its texts are not the
ones that made the classifier so sure of itself. The ratio differs by state and is
measured, not guessed. And states differ in how long they take: a high one is done after
an epoch or two, and its texts are better spent on the others.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from diffmask_training.figures import Figures
from diffmask_training.objective import LOWEST_AIM, Constraint

Dealing = Literal["spread", "single"]
# From one epoch to the next, an aim falls by a third or rises by a half at most.
_MIN_RATIO = 2 / 3
# A state has settled when an epoch moved its kept share by less than this.
_SETTLED_CHANGE = 0.01
_SETTLED_WEIGHT = 0.25


class Pacing:
    """Aims and shares of the texts of all states.

    Attributes:
        constraint: How far a masked prediction may stray.
        tolerance: A state is within the limit up to this share over it.
        aims: What training bounds each state's divergence (or excess) by, nats.
        weights: How many texts each state is dealt, relative to the others.
        kept_shares: Of each state, at the last validation; empty before the first.
    """

    def __init__(
        self, constraint: Constraint, *, aim: float, tolerance: float, num_states: int
    ) -> None:
        self.constraint = constraint
        self.tolerance = tolerance
        self.aims = [aim * constraint.limit] * num_states
        self.weights = [1.0] * num_states
        self.kept_shares: list[float] = []

    def update(self, figures: Figures) -> None:
        """Take account of the validation after an epoch.

        Aims are set so that the next validation should meet the limit, each lowered by
        a third or raised by a half at most. A state that keeps within the limit and no
        longer moves is dealt a quarter as many texts, until it moves again.

        Args:
            figures: Of that validation.
        """
        limit = self.constraint.limit
        before = self.kept_shares
        self.kept_shares = [state.kept_share for state in figures.states]
        for index, state in enumerate(figures.states):
            found = self.constraint.found(state)
            ratio = limit / max(found, 1e-9)
            aim = self.aims[index] * min(max(ratio, _MIN_RATIO), 1 / _MIN_RATIO)
            self.aims[index] = min(max(aim, LOWEST_AIM * limit), limit)
            is_settled = (
                bool(before)
                and abs(state.kept_share - before[index]) < _SETTLED_CHANGE
                and found <= (1 + self.tolerance) * limit
            )
            self.weights[index] = _SETTLED_WEIGHT if is_settled else 1.0

    @property
    def has_settled(self) -> bool:
        """Whether no state moved at the last validation, all within the limit."""
        return all(weight == _SETTLED_WEIGHT for weight in self.weights)

    def deal(
        self, num_texts: int, num_rounds: int, generator: torch.Generator
    ) -> dict[int, Tensor]:
        """Choose which texts are masked at which state.

        Every text is dealt `num_rounds` states, a heavy state perhaps more than once.
        Every state is dealt its share of all of that, by weight, to within one text.

        Args:
            num_texts: Texts of the batch.
            num_rounds: States for each text.
            generator: Source of the choice.

        Returns:
            For each state that is dealt any, in rising order, its texts `[rows]` int64.
        """
        weights = torch.tensor(self.weights, dtype=torch.float64)
        edges = weights.cumsum(dim=0) / weights.sum()
        num_rows = num_texts * num_rounds
        # Systematic sampling: equal steps from one random start.
        start = torch.rand((), dtype=torch.float64, generator=generator)
        points = (start + torch.arange(num_rows)) / num_rows
        states = torch.searchsorted(edges, points).clamp(max=len(self.weights) - 1)
        # Neighbours are rows of one state and should be rows of different texts.
        texts = torch.randperm(num_texts, generator=generator).repeat(num_rounds)
        return {index: texts[states == index] for index in sorted(set(states.tolist()))}

    def deal_single(
        self, num_texts: int, generator: torch.Generator
    ) -> dict[int, Tensor]:
        """Choose one state, each as likely, for all texts, as the paper does."""
        index = torch.randint(len(self.weights), (), generator=generator)
        return {int(index): torch.arange(num_texts)}

    def state_dict(self) -> dict[str, list[float]]:
        """Return what a checkpoint needs."""
        return {
            "aims": list(self.aims),
            "weights": list(self.weights),
            "kept_shares": list(self.kept_shares),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.aims = list(state["aims"])
        self.weights = list(state["weights"])
        self.kept_shares = list(state["kept_shares"])
