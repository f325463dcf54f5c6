import argparse
from pathlib import Path

import onnx
import pytest
from onnx import helper

from benchmarks.norms import describe, measure_lengths


def test_a_graph_whose_norms_are_joined_already_is_refused(tmp_path: Path) -> None:
    # The first norm of a model follows no sum that could be joined with it.
    nodes = [
        helper.make_node(name, ["x"], ["y"])
        for name in ("LayerNormalization", "SkipLayerNormalization")
    ]
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "graph", [], [])), path)
    arguments = argparse.Namespace(
        graph=path, bundle=None, checkpoint=None, probes=None
    )
    with pytest.raises(SystemExit, match="export it anew"):
        measure_lengths(arguments)


def test_processes_are_told_by_their_median_and_ends() -> None:
    lengths = [
        {"tokens": 16, "joined_over_parted": ratio, "cpu": ratio}
        for ratio in (1.5, 1.125, 1.25)
    ]
    row = describe({"lengths": lengths})[-1]
    assert row == "| 16 | 1.250 (1.125 to 1.500) | 1.250 (1.125 to 1.500) |"
