"""One Lagrange multiplier per state, and the ways to move it.

The nuPI controller answers to the violation itself (integral term) and to how fast its
running mean changes (proportional term), which damps the oscillation of plain gradient
ascent. Ascent is there too, with restarts: a multiplier falls to its lower bound once
its constraint is met. The published settings use RMSprop, whose first step throws the
multiplier from 1 to 0 and whose later steps are the same size whatever the violation;
it is here for comparison.

Source: Sohrabi et al. 2024, "On PI Controllers for Updating Lagrange Multipliers in
Constrained Optimization", algorithm 1; Gallego-Posada et al. 2022, "Controlled Sparsity
via Constrained Optimization", section 4.2 (restarts); De Cao et al. 2020 and their code
(RMSprop). `cooper-optim` has the same controller as a torch optimiser over a whole
parameter; here each state is visited at its own steps, and a dozen lines on numbers say
that more plainly than its sparse-gradient path. Tests hold each against an independent
implementation.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

DualKind = Literal["nupi", "ascent", "rmsprop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DualStep:
    """Where a step leads one multiplier.

    Attributes:
        value: Its value, not yet held to its bounds.
        running: What the update remembers of the violations.
    """

    value: float
    running: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NuPI:
    """The nuPI controller.

    Attributes:
        integral: Weight of the violation, >= 0.
        proportional: Weight of the change of its running mean, >= 0.
        smoothing: Share of the running mean that is kept at a step, in [0, 1).
        initial: First value of a multiplier, >= 0.
        lower: Smallest value that a step leaves a multiplier at, >= 0. Over 0,
            divergence keeps a price where the constraint leaves room: a gate must save
            more than that to close.
        upper: Largest value of a multiplier.
    """

    integral: float = 1.0
    proportional: float = 5.0
    smoothing: float = 0.9
    initial: float = 3.0
    lower: float = 0.0
    upper: float = 200.0

    def step(self, value: float, running: float | None, violation: float) -> DualStep:
        """Move one multiplier; `running` is the running mean of its violation."""
        if running is None:
            return DualStep(value=value + self.integral * violation, running=violation)
        keep = self.smoothing
        mean = keep * running + (1 - keep) * violation
        step = self.integral * violation + self.proportional * (mean - running)
        return DualStep(value=value + step, running=mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ascent:
    """Plain gradient ascent.

    Attributes:
        rate: Weight of the violation, > 0.
        restarts: Whether a multiplier falls to its lower bound where a visit finds its
            constraint met. What it has piled up while its state was far off would
            otherwise hold gates open long after.
        initial: First value of a multiplier, >= 0.
        lower: Smallest value that a step leaves a multiplier at, >= 0.
        upper: Largest value of a multiplier.
    """

    rate: float = 1.0
    restarts: bool = True
    initial: float = 3.0
    lower: float = 0.0
    upper: float = 200.0

    def step(self, value: float, running: float | None, violation: float) -> DualStep:
        """Move one multiplier; nothing is remembered but the last violation."""
        del running
        if self.restarts and violation <= 0:
            return DualStep(value=self.lower, running=violation)
        return DualStep(value=value + self.rate * violation, running=violation)


@dataclass(frozen=True, slots=True, kw_only=True)
class RMSprop:
    """Ascent with RMSprop, not centred, as `torch.optim.RMSprop` does it.

    Attributes:
        rate: Learning rate, > 0.
        smoothing: Share of the mean square that is kept at a step, in [0, 1).
        epsilon: Added to the root of the mean square, > 0.
        initial: First value of a multiplier, >= 0.
        lower: Smallest value that a step leaves a multiplier at, >= 0.
        upper: Largest value of a multiplier.
    """

    rate: float = 0.3
    smoothing: float = 0.99
    epsilon: float = 1e-8
    initial: float = 1.0
    lower: float = 0.0
    upper: float = 200.0

    def step(self, value: float, running: float | None, violation: float) -> DualStep:
        """Move one multiplier; `running` is the mean square of its violation."""
        keep = self.smoothing
        square = keep * (running or 0.0) + (1 - keep) * violation**2
        change = self.rate * violation / (math.sqrt(square) + self.epsilon)
        return DualStep(value=value + change, running=square)


class Multipliers:
    """Multipliers of all states; each moves only when its state is visited.

    Attributes:
        settings: How they move.
        lookahead: Rounds after which each goes half of the way back to where it was at
            the last such round; 0 for never. Zhang et al. 2019.
        values: Multiplier of each state, in [lower, upper] from its first step on.
        running: What the update remembers of each state; None before the first visit.
    """

    def __init__(
        self,
        num_states: int,
        settings: NuPI | Ascent | RMSprop,
        *,
        lookahead: int = 0,
    ) -> None:
        self.settings = settings
        self.lookahead = lookahead
        self.values = [settings.initial] * num_states
        self.running: list[float | None] = [None] * num_states
        self._slow = list(self.values)
        self._num_rounds = 0

    def dual_step(self, state_index: int, violation: float) -> None:
        """Move one multiplier by the violation seen at this step.

        Args:
            state_index: Which state was visited.
            violation: Divergence minus margin, nats; feasible when not positive.
        """
        settings = self.settings
        step = settings.step(
            self.values[state_index], self.running[state_index], violation
        )
        self.running[state_index] = step.running
        self.values[state_index] = min(max(step.value, settings.lower), settings.upper)

    def end_round(self) -> None:
        """Look ahead, once all visited states of a step have moved."""
        self._num_rounds += 1
        if self.lookahead and self._num_rounds % self.lookahead == 0:
            pairs = zip(self._slow, self.values, strict=True)
            self._slow = [(slow + fast) / 2 for slow, fast in pairs]
            self.values = list(self._slow)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {
            "values": list(self.values),
            "running": list(self.running),
            "slow": list(self._slow),
            "num_rounds": self._num_rounds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.values = list(state["values"])
        self.running = list(state["running"])
        self._slow = list(state["slow"])
        self._num_rounds = state["num_rounds"]
