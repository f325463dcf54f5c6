import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from diffmask_service.app import open_engine
from diffmask_service.bundle import write_bundle
from diffmask_service.core.batching import GROUP_TOKENS
from diffmask_service.core.values import Outputs
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.loading import choose_group_tokens
from diffmask_service.engine.session import Session
from diffmask_service.errors import BundleError, GraphError
from tests.support.tiny import tiny_files, tiny_manifest

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


def test_an_unknown_precision_is_refused(tiny_directory: Path) -> None:
    with pytest.raises(BundleError, match="no w8 graph; it holds fp32"):
        open_engine(tiny_directory, precision="w8")


def test_the_wanted_precision_is_run(tiny_directory: Path) -> None:
    engine = open_engine(tiny_directory, precision="fp32")
    assert engine.description.identity.precision == "fp32"
    engine.close()


def test_a_broken_graph_is_refused(tmp_path: Path) -> None:
    files = tiny_files(model__fp32__onnx=b"\xff\xff\xff")
    write_bundle(tmp_path / "broken", tiny_manifest(), files)
    with pytest.raises(GraphError, match=r"model\.fp32\.onnx: not an ONNX graph"):
        open_engine(tmp_path / "broken")
