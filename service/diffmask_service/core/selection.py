"""What a caller asked for, resolved against what the model has."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from diffmask_service.core.predictions import Int64Array
from diffmask_service.core.values import ExplainOptions, GateKind
from diffmask_service.errors import InvalidInput, NotFound, shown_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Options with every name resolved.

    Attributes:
        options: The options as they came.
        states: Names of the states to return, in order.
        state_index: `[layers]` int64. Where those states are among all states; to be
            read only.
        verify_index: Index of each state whose mask to verify; None stands for the mask
            of the aggregate score.
        fetches: What to compute: `logits`, `input_gates`, `hidden_gates`.
    """

    options: ExplainOptions
    states: tuple[str, ...]
    state_index: Int64Array
    verify_index: tuple[int | None, ...]
    fetches: tuple[str, ...]

    @property
    def explains(self) -> bool:
        """Whether more than the prediction was asked for."""
        return bool(self.options.gates or self.verify_index)

    def prediction_alone(self) -> "Selection":
        """Return the selection of who asked for no explanation."""
        options = replace(self.options, gates=frozenset(), top_k=None, verify=False)
        return replace(self, options=options, verify_index=())


# Callers of a model ask for the same few things again and again.
@lru_cache(maxsize=64)
def select(options: ExplainOptions, states: tuple[str, ...]) -> Selection:
    """Resolve options against a model's states.

    Args:
        options: What the caller asked for.
        states: Names of all states of the model, index 0 first.

    Raises:
        NotFound: The model has no state of that name.
        InvalidInput: Options contradict each other or are out of range.
    """
    _check(options)
    chosen = options.states or states
    verify_index: tuple[int | None, ...] = ()
    if options.verify:
        verify_index = _find(options.verify_states, states) or (None,)
    fetches = ["logits"]
    # The aggregate score and every hard mask come from the input gates.
    if options.gates or options.verify:
        fetches.append("input_gates")
    if GateKind.HIDDEN in options.gates:
        fetches.append("hidden_gates")
    state_index = np.array(_find(chosen, states), dtype=np.int64)
    state_index.flags.writeable = False
    return Selection(
        options=options,
        states=chosen,
        state_index=state_index,
        verify_index=verify_index,
        fetches=tuple(fetches),
    )


def _check(options: ExplainOptions) -> None:
    if options.top_k is not None and options.top_k < 1:
        raise InvalidInput(
            f"top_k is {options.top_k}; ask for at least 1, or leave it out for all"
        )
    if options.top_k is not None and not options.gates:
        raise InvalidInput("top_k chooses among gates; ask for input or hidden gates")
    if options.verify_states and not options.verify:
        raise InvalidInput("states to verify are named but verification is off")
    for names in (options.states, options.verify_states):
        if len(set(names)) < len(names):
            raise InvalidInput("a state is asked for twice; name each once")


def _find(names: Sequence[str], states: Sequence[str]) -> tuple[int, ...]:
    index_by_state = {state: index for index, state in enumerate(states)}
    for name in names:
        if name not in index_by_state:
            raise NotFound(
                f"the model has no state {shown_name(name)}; it has {', '.join(states)}"
            )
    return tuple(index_by_state[name] for name in names)
