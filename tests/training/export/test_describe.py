from pathlib import Path

import numpy as np

from diffmask_training.batches import Encoding
from diffmask_training.export.describe import _without_paths, describe_gates
from diffmask_training.runtime import GraphOutputs
from diffmask_training.tasks.spans import QuestionAnswering
from diffmask_training.tasks.texts import TextClassification

# `[layers, tokens]` of three texts; the first two are of label 1, the last of label 0.
GATES = (
    np.array([[1.0, 0.0, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0]], dtype=np.float32),
    np.array([[1.0, 0.0], [0.25, 0.25]], dtype=np.float32),
    np.array([[1.0, 1.0, 1.0], [0.75, 0.75, 0.0]], dtype=np.float32),
)


def outputs() -> list[GraphOutputs]:
    logits = ([0.0, 1.0], [0.0, 1.0], [1.0, 0.0])
    return [
        GraphOutputs(
            logits=np.array(each, dtype=np.float32),
            input_gates=gates,
            hidden_gates=np.float32(1) - gates,
        )
        for each, gates in zip(logits, GATES, strict=True)
    ]


def texts() -> list[Encoding]:
    return [
        Encoding(input_ids=(1,) * len(gates[0]), token_type_ids=(0,) * len(gates[0]))
        for gates in GATES
    ]


def test_no_path_of_this_machine_is_told() -> None:
    settings = {
        "data": "/home/me",
        "train": Path("/home/me/texts.csv"),
        "validation": "../more.csv",  # as a record of a fit has it
        "test": None,
        "probes": Path("/home/me/probes"),
        "seed": 3,
    }
    assert _without_paths(settings) == {
        "train": "texts.csv",
        "validation": "more.csv",
        "test": None,
        "seed": 3,
    }


def test_texts_are_counted_by_label_beside_the_means_of_tokens() -> None:
    reference = describe_gates(TextClassification(), texts(), outputs(), ("no", "yes"))
    found = reference["input"]
    assert found.num_texts == (1, 2)
    assert found.kept_share[1] == (0.5, 0.0)
    histograms = found.histograms
    assert histograms is not None
    edges = histograms.bin_edges
    # Both texts of label 1 keep half of their tokens in state 0, and none in state 1.
    assert histograms.kept_share[1][0][edges.index(0.5)] == 2
    assert histograms.kept_share[1][1][0] == 2
    # Their mean gates in state 0 are 0.375 and 0.5, in state 1 0 and 0.25.
    mean_gate = histograms.mean_gate[1]
    places = [edges.index(edge) for edge in (0.4, 0.5, 0.0, 0.3)]
    assert [mean_gate[0][places[0]], mean_gate[0][places[1]]] == [1, 1]
    assert [mean_gate[1][places[2]], mean_gate[1][places[3]]] == [1, 1]
    for rows in zip(histograms.kept_share, found.num_texts, strict=True):
        assert {sum(row) for row in rows[0]} == {rows[1]}


def test_texts_without_a_single_label_are_counted_together() -> None:
    task = QuestionAnswering(max_answer_tokens=3)
    spans = [
        GraphOutputs(
            logits=np.zeros((gates.shape[1], 2), dtype=np.float32),
            input_gates=gates,
            hidden_gates=gates,
        )
        for gates in GATES
    ]
    scored = [
        Encoding(
            input_ids=(1, 1),
            token_type_ids=(0, 0),
            scored=(0, 1),
            offsets=((0, 1), (1, 2)),
            source="ab",
        )
        for _ in GATES
    ]
    found = describe_gates(task, scored, spans, ())["hidden"]
    assert found.histograms is not None
    assert len(found.histograms.kept_share) == 1
    assert sum(found.histograms.mean_gate[0][0]) == 3
