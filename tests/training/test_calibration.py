from pathlib import Path

import pytest
import torch

from diffmask_training.batches import encode, sorted_batches
from diffmask_training.calibration import calibrate, smallest_shift
from diffmask_training.classifier import Classifier
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.objective import Constraint
from diffmask_training.probes import Probe, ProbeShape
from diffmask_training.records import Columns, read_records
from diffmask_training.validation import validate

SHAPE = HardConcreteShape()
MARGIN = 0.02


@pytest.mark.parametrize(
    ("threshold", "expected"), [(-9.0, 0.0), (0.0, 0.0), (1.25, 1.25), (20.0, 14.0)]
)
def test_smallest_shift_is_found_within_its_bounds(
    threshold: float, expected: float
) -> None:
    shift = smallest_shift(lambda s: threshold - s, limit=0.0)
    assert shift == pytest.approx(expected, abs=14 / 2**8)
    assert shift >= min(expected, 14.0) - 1e-9


@pytest.mark.parametrize("bias", [-4.0, 0.0, 4.0])
def test_every_state_ends_within_the_limit(
    classifier: Classifier, texts: Path, bias: float
) -> None:
    torch.manual_seed(3)
    shape = ProbeShape(kind="hidden", num_states=4, hidden_size=32, bottleneck_size=4)
    probe = Probe(shape).requires_grad_(requires_grad=False)
    probe.bias.fill_(bias)
    labels = ("negative", "positive")
    records = read_records(texts, labels=labels, columns=Columns())
    batches = list(
        sorted_batches(
            encode(records, classifier.tokenizer, 64), batch_size=64, pad_id=0
        )
    )
    calibrate(
        classifier.encoder,
        probe,
        batches,
        constraint=Constraint(kind="mean", margin=MARGIN, slack=0.0),
        shape=SHAPE,
        limit=0.75 * MARGIN,
    )
    figures = validate(classifier.encoder, probe, batches, shape=SHAPE, margin=MARGIN)
    # The largest shift opens every gate of this probe, so the limit can be met.
    assert all(state.divergence <= 0.75 * MARGIN + 1e-6 for state in figures.states)


def test_states_within_the_limit_are_left_alone(
    classifier: Classifier, texts: Path
) -> None:
    shape = ProbeShape(kind="hidden", num_states=4, hidden_size=32, bottleneck_size=4)
    probe = Probe(shape).requires_grad_(requires_grad=False)
    before = probe.bias.clone()
    records = read_records(texts, labels=("negative", "positive"), columns=Columns())
    encodings = encode(records, classifier.tokenizer, 64)
    calibrate(
        classifier.encoder,
        probe,
        list(sorted_batches(encodings, batch_size=64, pad_id=0)),
        constraint=Constraint(kind="mean", margin=MARGIN, slack=0.0),
        shape=SHAPE,
        limit=1e9,
    )
    assert torch.equal(probe.bias, before)
