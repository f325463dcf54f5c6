import logging
from typing import Any, Literal

import numpy as np
import pytest

from diffmask_service.core.batching import GROUP_TOKENS
from diffmask_service.core.values import Outputs
from diffmask_service.engine.loading import choose_group_tokens
from diffmask_service.engine.session import Row, Session

ROWS = (Row(input_ids=np.arange(6), token_type_ids=np.zeros(6, dtype=np.int64)),)


class Echo(Session):
    """A graph that answers with a number, which may depend on the size of the run."""

    def __init__(self, *, is_leaking: bool) -> None:
        self._is_leaking = is_leaking

    def run(self, rows: Any, *, fetches: tuple[str, ...]) -> Outputs:
        number = len(rows) if self._is_leaking else 1
        values = np.full((len(rows), 1, 1), number, dtype=np.float32)
        return Outputs(logits=values[:, 0], input_gates=values, hidden_gates=values)


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("fp32", GROUP_TOKENS), ("w8", GROUP_TOKENS), ("int8", 0), ("fp16", 0)],
)
def test_only_arithmetic_without_shared_scales_groups(
    precision: Literal["fp32", "fp16", "int8", "w8"], expected: int
) -> None:
    session = Echo(is_leaking=False)
    assert choose_group_tokens(precision, ROWS, session) == expected


def test_where_groups_change_bits_every_text_runs_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "diffmask_service.engine.loading")
    assert choose_group_tokens("fp32", ROWS, Echo(is_leaking=True)) == 0
    assert "every text runs alone" in caplog.text
