"""Last step of a fit: shift biases until hard masks on unseen texts use the limit.

Training meets its constraint on sampled gates and on texts that the classifier knows by
heart. What is served are hard masks on texts that nobody has seen, and there a state
may stray too far, or not nearly as far as it may. A shift of the bias, found on the
validation texts by bisection, mends that without touching what the probe has learned
to rank.

States of a hidden probe stand alone: those that break the limit are opened, and those
that leave room are closed if the constraint is what kept them open; a state that the
least price of divergence kept open is left as it is. Those of an input probe share
their votes, and opening one opens all above it, at a worse price than training's: 15
points of sparsity on SST-2 for a few tenths of agreement. So an input probe is closed
as a whole, where every state leaves room, and otherwise left alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from diffmask_training.batches import TensorBatch
from diffmask_training.encoder import Encoder
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.masking import hard_gates_of, mix_state
from diffmask_training.objective import Constraint
from diffmask_training.probes import Probe

_RESOLUTION = 0.05
_FIRST_STEP = 0.4
# Opens every gate, whatever its network says: gate logits reach 10 under their bias.
_LARGEST_SHIFT = 14.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A batch, with no more of its plain run than masks of one state need.

    The states of a few hundred long texts would fill a machine's memory.

    Attributes:
        batch: The texts.
        logits: Of the plain run.
        state: What is masked, `[batch, tokens, hidden]`.
        scores: By voter, `[batch, tokens]`.
    """

    batch: TensorBatch
    logits: torch.Tensor
    state: torch.Tensor
    scores: Mapping[int, torch.Tensor]


@torch.no_grad()
def calibrate(
    encoder: Encoder,
    probe: Probe,
    batches: Sequence[TensorBatch],
    *,
    constraint: Constraint,
    shape: HardConcreteShape,
    limit: float,
    is_bound: Sequence[bool],
) -> None:
    """Shift the biases of a probe in place.

    Args:
        encoder: The frozen model.
        probe: The probe.
        batches: The validation texts.
        constraint: How far masked predictions may stray.
        shape: Of the votes' distribution.
        limit: Largest divergence (or excess) of a state, nats.
        is_bound: Of each state, whether the constraint has a price of its own there:
            its multiplier is over the least. Not used for an input probe.
    """
    fitted = probe.bias.clone()
    every = range(probe.shape.num_states)

    def bounded(index: int, seen: Sequence[_Seen]) -> float:
        divergences = [
            _divergences(encoder, probe, index, each, shape) for each in seen
        ]
        return float(constraint.bounded(torch.cat(divergences)))

    if probe.shape.kind == "input":
        # All votes mask the same state.
        together = _look(encoder, probe, batches, every[-1])
        _close_together(probe, lambda index: bounded(index, together), limit=limit)
        return
    for index in every:
        own = _look(encoder, probe, batches, index)

        def alone(
            shift: float, index: int = index, own: Sequence[_Seen] = own
        ) -> float:
            probe.bias[index] = fitted[index] + shift
            return bounded(index, own)

        shift = smallest_shift(alone, limit=limit)
        if shift == 0.0 and is_bound[index]:
            shift = smallest_shift(
                alone, limit=limit, lowest=-_LARGEST_SHIFT, highest=0.0
            )
        probe.bias[index] = fitted[index] + shift


def _look(
    encoder: Encoder, probe: Probe, batches: Sequence[TensorBatch], index: int
) -> list[_Seen]:
    seen = []
    for batch in batches:
        plain = encoder.capture(batch.inputs)
        states = plain.hidden_states
        seen.append(
            _Seen(
                batch=batch,
                logits=plain.logits,
                state=states[probe.site(index)],
                scores={v: probe.scores(states, v) for v in probe.voters(index)},
            )
        )
    return seen


def _divergences(
    encoder: Encoder, probe: Probe, index: int, seen: _Seen, shape: HardConcreteShape
) -> torch.Tensor:
    inputs = seen.batch.inputs
    votes = [probe.bounded(seen.scores[v], v) for v in probe.voters(index)]
    gates = hard_gates_of(torch.stack(votes), shape).values
    mixed = mix_state(probe, seen.state, index, gates)
    logits = encoder.run_from(inputs, probe.site(index), mixed).float()
    return encoder.task.divergence(seen.logits, logits, inputs)


def _close_together(
    probe: Probe, bounded: Callable[[int], float], *, limit: float
) -> None:
    fitted = probe.bias.clone()
    # High states close first. The last one over the limit comes first the next time:
    # it alone then tells that a shift goes too far.
    order = list(reversed(range(probe.shape.num_states)))

    def worst(shift: float) -> float:
        probe.bias.copy_(fitted + shift)
        found = 0.0
        for index in list(order):
            found = max(found, bounded(index))
            if found > limit:
                order.remove(index)
                order.insert(0, index)
                break
        return found

    shift = 0.0
    if worst(0.0) <= limit:
        shift = smallest_shift(worst, limit=limit, lowest=-_LARGEST_SHIFT, highest=0.0)
    probe.bias.copy_(fitted + shift)


def smallest_shift(
    bounded: Callable[[float], float],
    *,
    limit: float,
    lowest: float = 0.0,
    highest: float = _LARGEST_SHIFT,
) -> float:
    """Return about the smallest shift under which a quantity meets a limit.

    It is sought in steps that double from 0 on, since it mostly lies there, and then by
    bisection.

    Args:
        bounded: The quantity under a shift; falls as the shift rises.
        limit: What it may be at most.
        lowest: Smallest shift allowed, <= 0; under 0 the limit is met at `highest`.
        highest: Largest shift allowed, >= 0.

    Returns:
        A shift under which it was seen to meet the limit, or the largest one allowed.
    """
    low, high, step = lowest, highest, _FIRST_STEP
    if lowest < 0:
        low = max(lowest, high - step)
        while bounded(low) <= limit:
            if low == lowest:
                return lowest
            high, step = low, 2 * step
            low = max(lowest, high - step)
    else:
        if bounded(lowest) <= limit:
            return lowest
        high = min(highest, low + step)
        while high < highest and bounded(high) > limit:
            low, step = high, 2 * step
            high = min(highest, low + step)
    while high - low > _RESOLUTION:
        middle = (low + high) / 2
        if bounded(middle) <= limit:
            high = middle
        else:
            low = middle
    return high
