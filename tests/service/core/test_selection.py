import pytest

from diffmask_service.core.selection import select
from diffmask_service.core.values import ExplainOptions, GateKind

STATES = ("word_embeddings", "embeddings", "block_1")
INPUT, HIDDEN = frozenset({GateKind.INPUT}), frozenset({GateKind.HIDDEN})


def test_no_states_mean_all() -> None:
    selection = select(ExplainOptions(), STATES)
    assert selection.states == STATES
    assert selection.state_index.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "fetches"),
    [
        (ExplainOptions(gates=frozenset()), ("logits",)),
        (ExplainOptions(gates=INPUT), ("logits", "input_gates")),
        (ExplainOptions(gates=HIDDEN), ("logits", "input_gates", "hidden_gates")),
        (ExplainOptions(gates=frozenset(), verify=True), ("logits", "input_gates")),
    ],
)
def test_only_what_is_needed_is_fetched(
    options: ExplainOptions, fetches: tuple[str, ...]
) -> None:
    assert select(options, STATES).fetches == fetches


def test_verification_without_states_takes_the_aggregate_score() -> None:
    assert select(ExplainOptions(verify=True), STATES).verify_index == (None,)


def test_verification_of_states_takes_each() -> None:
    options = ExplainOptions(verify=True, verify_states=("block_1", "embeddings"))
    assert select(options, STATES).verify_index == (2, 1)
