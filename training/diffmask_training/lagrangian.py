"""One Lagrange multiplier per state, moved by a nuPI controller.

The controller answers to the violation itself (integral term) and to how fast its
running mean changes (proportional term), which damps the oscillation of plain gradient
ascent. The published settings use RMSprop instead, whose first step throws the
multiplier from 1 to 0 and whose later steps are the same size whatever the violation.

Source: Sohrabi et al. 2024, "On PI Controllers for Updating Lagrange Multipliers in
Constrained Optimization", algorithm 1. `cooper-optim` has the same controller as a
torch optimiser over a whole parameter; here each state is visited at its own steps, and
a dozen lines on numbers say that more plainly than its sparse-gradient path. A test
holds the two against each other.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NuPI:
    """Settings of the controller.

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


class Multipliers:
    """Multipliers of all states; each moves only when its state is visited.

    Attributes:
        settings: The controller.
        values: Multiplier of each state, in [lower, upper] from its first step on.
        running: Running mean of each state's violation; None before the first visit.
    """

    def __init__(self, num_states: int, settings: NuPI) -> None:
        self.settings = settings
        self.values = [settings.initial] * num_states
        self.running: list[float | None] = [None] * num_states

    def dual_step(self, state_index: int, violation: float) -> None:
        """Move one multiplier by the violation seen at this step.

        Args:
            state_index: Which state was visited.
            violation: Divergence minus margin, nats; feasible when not positive.
        """
        settings, before = self.settings, self.running[state_index]
        if before is None:
            running = violation
            change = 0.0
        else:
            keep = settings.smoothing
            running = keep * before + (1 - keep) * violation
            change = running - before
        step = settings.integral * violation + settings.proportional * change
        self.running[state_index] = running
        self.values[state_index] = min(
            max(self.values[state_index] + step, settings.lower), settings.upper
        )

    def state_dict(self) -> dict[str, list[float | None]]:
        """Return what a checkpoint needs."""
        return {"values": list(self.values), "running": list(self.running)}

    def load_state_dict(self, state: dict[str, list[float | None]]) -> None:
        """Take up the state of a checkpoint."""
        self.values = [float(value or 0.0) for value in state["values"]]
        self.running = list(state["running"])
