from collections.abc import Mapping
from pathlib import Path
from weakref import WeakSet

import pytest
import torch

from diffmask_training.batches import TensorBatch, sorted_batches
from diffmask_training.calibration import calibrate, smallest_shift
from diffmask_training.classifier import Classifier
from diffmask_training.encoder import Captured
from diffmask_training.encoding import encode
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.objective import Constraint
from diffmask_training.probes import Probe, ProbeKind, ProbeShape
from diffmask_training.records import Columns, read_records
from diffmask_training.validation import validate

SHAPE = HardConcreteShape()
MARGIN = 0.02


def _batches(classifier: Classifier, texts: Path) -> list[TensorBatch]:
    records = read_records(texts, labels=("negative", "positive"), columns=Columns())
    encodings = encode(records, classifier.tokenizer, 64, task=classifier.encoder.task)
    return list(sorted_batches(encodings, batch_size=64, pad_id=0))


@pytest.mark.parametrize(
    ("threshold", "expected"), [(-9.0, 0.0), (0.0, 0.0), (1.25, 1.25), (20.0, 14.0)]
)
def test_smallest_shift_is_found_within_its_bounds(
    threshold: float, expected: float
) -> None:
    shift = smallest_shift(lambda s: threshold - s, limit=0.0)
    assert shift == pytest.approx(expected, abs=0.05)
    assert shift >= min(expected, 14.0) - 1e-9


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(-20.0, -14.0), (-14.0, -14.0), (-3.3, -3.3), (-0.1, -0.1), (0.0, 0.0)],
)
def test_a_shift_that_closes_is_found_within_its_bounds(
    threshold: float, expected: float
) -> None:
    shift = smallest_shift(
        lambda s: threshold - s, limit=0.0, lowest=-14.0, highest=0.0
    )
    assert shift == pytest.approx(expected, abs=0.05)
    assert shift >= expected - 1e-9


@pytest.mark.parametrize(
    ("threshold", "lowest", "highest"), [(0.3, 0.0, 14.0), (-0.3, -14.0, 0.0)]
)
def test_a_shift_near_0_takes_few_looks(
    threshold: float, lowest: float, highest: float
) -> None:
    asked: list[float] = []

    def bounded(shift: float) -> float:
        asked.append(shift)
        return threshold - shift

    smallest_shift(bounded, limit=0.0, lowest=lowest, highest=highest)
    # Bisection of the whole range alone takes nine.
    assert len(asked) <= 6


@pytest.mark.parametrize("bias", [-4.0, 0.0, 4.0])
def test_every_state_ends_within_the_limit(
    classifier: Classifier, texts: Path, bias: float
) -> None:
    torch.manual_seed(3)
    shape = ProbeShape(kind="hidden", num_states=4, hidden_size=32, bottleneck_size=4)
    probe = Probe(shape).requires_grad_(requires_grad=False)
    probe.bias.fill_(bias)
    batches = _batches(classifier, texts)
    calibrate(
        classifier.encoder,
        probe,
        batches,
        constraint=Constraint(kind="mean", margin=MARGIN, slack=0.0),
        shape=SHAPE,
        limit=0.75 * MARGIN,
        is_bound=[False] * 4,
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
    calibrate(
        classifier.encoder,
        probe,
        _batches(classifier, texts),
        constraint=Constraint(kind="mean", margin=MARGIN, slack=0.0),
        shape=SHAPE,
        limit=1e9,
        is_bound=[False] * 4,
    )
    assert torch.equal(probe.bias, before)


def test_states_that_the_constraint_held_open_are_closed(
    classifier: Classifier, texts: Path
) -> None:
    torch.manual_seed(3)
    shape = ProbeShape(kind="hidden", num_states=4, hidden_size=32, bottleneck_size=4)
    probe = Probe(shape).requires_grad_(requires_grad=False)
    probe.bias.fill_(4.0)
    batches = _batches(classifier, texts)

    def divergences() -> list[float]:
        figures = validate(
            classifier.encoder, probe, batches, shape=SHAPE, margin=MARGIN
        )
        return [state.divergence for state in figures.states]

    limit = max(divergences()) + MARGIN
    calibrate(
        classifier.encoder,
        probe,
        batches,
        constraint=Constraint(kind="mean", margin=MARGIN, slack=0.0),
        shape=SHAPE,
        limit=limit,
        is_bound=[True, True, False, False],
    )
    shift = probe.bias - 4.0
    assert float(shift[:2].max()) < -0.1
    assert shift[2:].tolist() == [0.0, 0.0]
    assert max(divergences()) <= limit
    probe.bias[:2] -= 0.06  # a little more than the resolution of the search
    assert min(divergences()[:2]) > limit


def _input_probe() -> Probe:
    torch.manual_seed(3)
    shape = ProbeShape(kind="input", num_states=4, hidden_size=32, bottleneck_size=4)
    probe = Probe(shape).requires_grad_(requires_grad=False)
    probe.bias.copy_(torch.tensor([6.0, 7.0, 8.0, 9.0]))
    return probe


def test_input_probe_is_closed_as_a_whole_where_there_is_room(
    classifier: Classifier, texts: Path
) -> None:
    probe = _input_probe()
    before = probe.bias.clone()
    batches = _batches(classifier, texts)
    constraint = Constraint(kind="mean", margin=MARGIN, slack=0.0)

    def worst() -> float:
        figures = validate(
            classifier.encoder, probe, batches, shape=SHAPE, margin=MARGIN
        )
        return max(state.divergence for state in figures.states)

    limit = worst() + MARGIN
    calibrate(
        classifier.encoder,
        probe,
        batches,
        constraint=constraint,
        shape=SHAPE,
        limit=limit,
        is_bound=[False] * 4,
    )
    shift = probe.bias - before
    assert float(shift[0]) < -1.0
    assert torch.allclose(shift, shift[:1].expand(4))
    assert worst() <= limit
    probe.bias.sub_(0.06)  # a little more than the resolution of the search
    assert worst() > limit


def test_infeasible_input_probe_is_left_alone(
    classifier: Classifier, texts: Path
) -> None:
    probe = _input_probe()
    probe.bias.fill_(0.0)
    calibrate(
        classifier.encoder,
        probe,
        _batches(classifier, texts),
        constraint=Constraint(kind="mean", margin=MARGIN, slack=0.0),
        shape=SHAPE,
        limit=1e-9,
        is_bound=[True] * 4,
    )
    assert bool((probe.bias == 0).all())


@pytest.mark.parametrize("kind", ["input", "hidden"])
def test_one_state_of_every_text_is_held_at_a_time(
    classifier: Classifier,
    texts: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: ProbeKind,
) -> None:
    encoder, batches = classifier.encoder, _batches(classifier, texts)
    capture, run_from = encoder.capture, encoder.run_from
    states: WeakSet[torch.Tensor] = WeakSet()
    held = []

    def capture_watched(inputs: Mapping[str, torch.Tensor]) -> Captured:
        captured = capture(inputs)
        states.update(captured.hidden_states)
        return captured

    def run_watched(
        inputs: Mapping[str, torch.Tensor], index: int, state: torch.Tensor
    ) -> torch.Tensor:
        held.append(len(states))
        return run_from(inputs, index, state)

    monkeypatch.setattr(encoder, "capture", capture_watched)
    monkeypatch.setattr(encoder, "run_from", run_watched)
    shape = ProbeShape(kind=kind, num_states=4, hidden_size=32, bottleneck_size=4)
    calibrate(
        encoder,
        Probe(shape).requires_grad_(requires_grad=False),
        batches,
        constraint=Constraint(kind="mean", margin=MARGIN, slack=0.0),
        shape=SHAPE,
        limit=MARGIN,
        is_bound=[True] * 4,
    )
    # Those of the last batch that was looked at may still be on their way out.
    assert held
    assert max(held) <= len(batches) + encoder.num_states
