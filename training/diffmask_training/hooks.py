"""Hooks on the modules that make a model's states: read, replace, and skip.

A family calls its blocks with other arguments and gets bare tensors or tuples from
them; a block may be called several times in a run. Hence states are told apart by the
order of the calls, and outputs keep their form.
"""

import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

Tap = Callable[[int, Tensor], Tensor]


@contextmanager
def tapped(modules: Sequence[nn.Module], tap: Tap) -> Iterator[None]:
    """Pass every state of every run inside the context through `tap`.

    Args:
        modules: What makes the states, in the order of the calls of a run; the first
            is called once a run.
        tap: Maps the index of a state and the state, `[batch, tokens, hidden]`, to what
            the model reads in its place.
    """
    index = 0

    def hook(module: nn.Module, _arguments: Any, output: Any) -> Any:
        nonlocal index
        index = 0 if module is modules[0] else index + 1
        return _replaced(output, tap(index, _state_of(output)))

    with ExitStack() as stack:
        for module in dict.fromkeys(modules):
            stack.callback(module.register_forward_hook(hook).remove)
        yield


@contextmanager
def limited(
    blocks: Sequence[nn.Module],
    num_rows: Sequence[int],
    *,
    batched_arguments: Collection[str],
) -> Iterator[None]:
    """Let blocks compute the first texts of a batch alone, in the one run inside.

    A block hands the other texts on as they are. Contexts on the same blocks must not
    be nested.

    Args:
        blocks: In the order of their calls.
        num_rows: How many texts each call computes, at least; none still computes one,
            which tells the form of the block's output.
        batched_arguments: Names of the arguments, besides the state, that have a row
            for each text.
    """
    limits = iter(num_rows)

    def forward(
        block: nn.Module, hidden_states: Tensor, *others: Any, **named: Any
    ) -> Any:
        rows = max(next(limits), 1)
        compute = type(block).forward
        if rows >= len(hidden_states):
            return compute(block, hidden_states, *others, **named)
        names = list(inspect.signature(compute).parameters)[2:]
        arguments = {**dict(zip(names, others, strict=False)), **named}
        for name in batched_arguments:
            value = arguments.get(name)
            if isinstance(value, Tensor) and len(value) == len(hidden_states):
                arguments[name] = value[:rows]
        output = compute(block, hidden_states[:rows], **arguments)
        state = torch.cat([_state_of(output), hidden_states[rows:]])
        return _replaced(output, state)

    distinct = dict.fromkeys(blocks)
    for block in distinct:
        block.forward = partial(forward, block)
    try:
        yield
    finally:
        for block in distinct:
            del block.forward


def _state_of(output: Any) -> Tensor:
    # A bare tensor must not be indexed, which would take the first text of the batch.
    state: Tensor = output if isinstance(output, Tensor) else output[0]
    return state


def _replaced(output: Any, state: Tensor) -> Any:
    return state if isinstance(output, Tensor) else (state, *output[1:])
