from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffmask_training.hooks import limited, tapped

STATE = torch.arange(8.0).reshape(4, 2, 1)


class _Block(nn.Module):
    """Doubles its state and adds a bias; says how many texts it was given."""

    def __init__(self, *, returns_tuple: bool) -> None:
        super().__init__()
        self.returns_tuple = returns_tuple
        self.num_rows: list[int] = []

    def forward(
        self, hidden_states: Tensor, bias: Tensor, table: Tensor | None = None
    ) -> Any:
        self.num_rows.append(len(hidden_states))
        assert table is None or len(table) == 4
        state = 2 * hidden_states + bias
        return (state, "attention") if self.returns_tuple else state


@pytest.mark.parametrize("returns_tuple", [False, True])
def test_output_keeps_its_form_when_its_state_is_replaced(returns_tuple: bool) -> None:
    block = _Block(returns_tuple=returns_tuple)
    with tapped([block], lambda _, state: state + 1):
        output = block(STATE, torch.zeros(4, 1, 1))
    state = output[0] if returns_tuple else output
    assert torch.equal(state, 2 * STATE + 1)
    assert not returns_tuple or output[1] == "attention"


def test_calls_of_one_module_are_told_apart_in_every_run() -> None:
    words, block = nn.Identity(), _Block(returns_tuple=False)
    seen: list[int] = []

    def tap(index: int, state: Tensor) -> Tensor:
        seen.append(index)
        return state

    with tapped([words, block, block], tap):
        for _ in range(2):
            block(block(words(STATE), torch.zeros(1)), torch.zeros(1))
    assert seen == [0, 1, 2] * 2


@pytest.mark.parametrize("returns_tuple", [False, True])
@pytest.mark.parametrize("num_rows", [0, 1, 3, 4])
def test_block_computes_the_first_rows_and_hands_the_others_on(
    returns_tuple: bool, num_rows: int
) -> None:
    block = _Block(returns_tuple=returns_tuple)
    bias = torch.arange(4.0).reshape(4, 1, 1)
    with limited([block], [num_rows], batched_arguments=["bias"]):
        output = block(STATE, bias, table=torch.zeros(4))
    state = output[0] if returns_tuple else output
    computed = max(num_rows, 1)
    assert block.num_rows == [computed]
    assert torch.equal(state[:num_rows], (2 * STATE + bias)[:num_rows])
    assert torch.equal(state[computed:], STATE[computed:])


def test_each_call_of_a_shared_block_has_its_own_limit() -> None:
    block = _Block(returns_tuple=False)
    with limited([block, block], [1, 4], batched_arguments=["bias"]):
        block(block(STATE, torch.zeros(4, 1, 1)), torch.zeros(4, 1, 1))
    assert block.num_rows == [1, 4]
    block(STATE, torch.zeros(1))
    assert block.num_rows == [1, 4, 4]
