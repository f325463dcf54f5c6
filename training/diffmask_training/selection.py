"""Which epoch's probe a fit keeps: sound first, then feasible, then sparsest.

The votes of an input probe work together, so it is kept as it was at the end of one
epoch. The states of a hidden probe stand alone, so each is kept from the epoch that
served it best: near the limit single states go astray for an epoch or two (from 0.14 to
0.36 nats and back to a tenth of the masks on SST-2), seldom all in the same one.
"""

from dataclasses import dataclass
from functools import reduce

from torch import Tensor

from diffmask_training.figures import Figures
from diffmask_training.probes import ProbeKind, plain_state, splice
from diffmask_training.trainer import Trainer
from diffmask_training.verdict import COLLAPSED_SHARE, is_collapsed, shares_of_limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A probe that could be kept. All but `kind` and `state` have an entry a state.

    Attributes:
        kind: What it masks.
        epochs: The epoch that each state is from, counted from 1.
        kept_shares: Shares of the validation texts' tokens that hard masks keep.
        breaks: What the constraint bounds, as a share of what a state may have to be
            feasible.
        multipliers: At the end of that epoch.
        state: The probe's tensors.
    """

    kind: ProbeKind
    epochs: tuple[int, ...]
    kept_shares: tuple[float, ...]
    breaks: tuple[float, ...]
    multipliers: tuple[float, ...]
    state: dict[str, Tensor]

    @property
    def is_feasible(self) -> bool:
        """Whether every state kept within the limit."""
        return max(self.breaks) <= 1

    @property
    def is_collapsed(self) -> bool:
        """Whether some state keeps or drops hardly a token."""
        return is_collapsed(self.kept_shares)

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Sort key: sound first, then feasible, then sparsest."""
        mean = sum(self.kept_shares) / len(self.kept_shares)
        cost = mean if self.is_feasible else max(self.breaks)
        return (self.is_collapsed, not self.is_feasible, cost)

    def rank_of(self, index: int) -> tuple[bool, bool, float]:
        """Return the sort key of one state."""
        kept, found = self.kept_shares[index], self.breaks[index]
        return (kept < COLLAPSED_SHARE, found > 1, kept if found <= 1 else found)


def assess(trainer: Trainer, figures: Figures) -> Candidate:
    """Return the trainer's probe as a candidate.

    Args:
        trainer: At the end of an epoch.
        figures: Its validation there.
    """
    allowed = 1 + trainer.config.tolerance
    shares = shares_of_limit(figures, trainer.config)
    return Candidate(
        kind=trainer.probe.shape.kind,
        epochs=(trainer.epoch,) * len(figures.states),
        kept_shares=tuple(state.kept_share for state in figures.states),
        breaks=tuple(share / allowed for share in shares.values()),
        multipliers=tuple(trainer.multipliers.values),
        state=plain_state(trainer.probe),
    )


def best_of(*candidates: Candidate) -> Candidate:
    """Return the best of some candidates, for a hidden probe the best of their states.

    Of equals, the last.
    """
    return reduce(_better, candidates)


def _better(first: Candidate, second: Candidate) -> Candidate:
    if first.kind == "input":
        return second if second.rank <= first.rank else first
    sources = [
        second if second.rank_of(index) <= first.rank_of(index) else first
        for index in range(len(first.epochs))
    ]
    state = first.state
    for index, source in enumerate(sources):
        if source is second:
            state = splice(state, second.state, index)
    return Candidate(
        kind=first.kind,
        epochs=tuple(c.epochs[i] for i, c in enumerate(sources)),
        kept_shares=tuple(c.kept_shares[i] for i, c in enumerate(sources)),
        breaks=tuple(c.breaks[i] for i, c in enumerate(sources)),
        multipliers=tuple(c.multipliers[i] for i, c in enumerate(sources)),
        state=state,
    )
