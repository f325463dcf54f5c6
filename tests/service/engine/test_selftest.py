from typing import Any

import numpy as np
import pytest

from diffmask_service.core.values import Outputs
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.selftest import check_selftest, is_exact_in_groups
from diffmask_service.engine.session import Session
from diffmask_service.engine.tokenizer import TextTokenizer
from diffmask_service.errors import SelfTestError
from tests.support.tiny import (
    INPUTS,
    MAX_TOKENS,
    tiny_model,
    tiny_selftest,
    tiny_tokenizer,
)


@pytest.fixture
def session() -> Session:
    return Session(tiny_model().SerializeToString(), inputs=INPUTS, name="model.onnx")


@pytest.fixture
def tokenizer() -> TextTokenizer:
    return TextTokenizer(tiny_tokenizer(), max_tokens=MAX_TOKENS)


def check(
    tokenizer: TextTokenizer,
    session: Session,
    *,
    compare_values: bool = True,
    **changes: Any,
) -> tuple[Row, ...]:
    selftest = tiny_selftest(**changes)
    return check_selftest(selftest, tokenizer, session, compare_values=compare_values)


def test_the_exported_values_pass(tokenizer: TextTokenizer, session: Session) -> None:
    assert len(check(tokenizer, session)) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "a dull movie"}, "case 0: the tokenizer gives"),
        ({"text": "a " * 50}, "case 0: its text has 52 tokens"),
        ({"logits": (0.0, 1.625)}, "case 0: logits differs by 1.9 from the exported"),
        ({"logits": (0.0,)}, r"logits has shape \[2\], expected \[1\]"),
        ({"input_gates": ((0.5,) * 6,) * 3}, "input_gates differs by"),
        ({"hidden_gates": ((0.5,) * 6,) * 3}, "hidden_gates differs by"),
    ],
)
def test_other_tokens_or_values_are_refused(
    tokenizer: TextTokenizer, session: Session, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SelfTestError, match=message):
        check(tokenizer, session, **changes)


def test_another_precision_must_run_but_not_agree(
    tokenizer: TextTokenizer, session: Session
) -> None:
    check(tokenizer, session, compare_values=False, logits=(9.0, 9.0))


class Leaking(Session):
    """A graph whose answers depend on the size of the run."""

    def __init__(self) -> None:
        """Open nothing."""

    def run(self, rows: Any, *, fetches: tuple[str, ...]) -> Outputs:
        values = np.full((len(rows), 1, 1), 1.0 / len(rows), dtype=np.float32)
        return Outputs(logits=values[:, 0], input_gates=values, hidden_gates=values)


def test_groups_of_the_tiny_graph_are_exact(
    tokenizer: TextTokenizer, session: Session
) -> None:
    rows = check(tokenizer, session)
    assert is_exact_in_groups(rows, session, max_group_tokens=128)


def test_a_graph_that_leaks_between_texts_is_found(
    tokenizer: TextTokenizer, session: Session
) -> None:
    rows = check(tokenizer, session)
    assert not is_exact_in_groups(rows, Leaking(), max_group_tokens=128)


def test_texts_too_long_to_share_a_run_prove_nothing(
    tokenizer: TextTokenizer, session: Session
) -> None:
    rows = check(tokenizer, session)
    assert is_exact_in_groups(rows, Leaking(), max_group_tokens=8)
