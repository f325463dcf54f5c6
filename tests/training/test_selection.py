import pytest
import torch

from diffmask_training.probes import Probe, ProbeKind, ProbeShape, plain_state
from diffmask_training.selection import Candidate, best_of

STATES = 4


def probe(*, seed: int, kind: ProbeKind = "hidden") -> Probe:
    torch.manual_seed(seed)
    shape = ProbeShape(
        kind=kind, num_states=STATES, hidden_size=6, embedding_size=5, bottleneck_size=3
    )
    made = Probe(shape).requires_grad_(requires_grad=False)
    torch.nn.init.normal_(made.baselines)
    torch.nn.init.normal_(made.bias)
    return made


def candidate(
    *,
    epoch: int,
    kept: tuple[float, ...],
    breaks: tuple[float, ...],
    kind: ProbeKind = "hidden",
) -> Candidate:
    return Candidate(
        kind=kind,
        epochs=(epoch,) * STATES,
        kept_shares=kept,
        breaks=breaks,
        multipliers=(float(epoch),) * STATES,
        state=plain_state(probe(seed=epoch, kind=kind)),
    )


def test_a_hidden_probe_takes_each_state_from_its_best_epoch() -> None:
    first = candidate(epoch=1, kept=(0.5, 0.5, 0.001, 0.5), breaks=(0.9, 1.2, 0.5, 0.9))
    second = candidate(epoch=2, kept=(0.4, 0.6, 0.7, 0.3), breaks=(1.1, 1.1, 0.9, 0.2))
    best = best_of(first, second)
    # Within the limit; less far over it; not collapsed; sparser.
    assert best.epochs == (1, 2, 2, 2)
    assert best.kept_shares == (0.5, 0.6, 0.7, 0.3)
    assert best.breaks == (0.9, 1.1, 0.9, 0.2)
    assert best.multipliers == (1.0, 2.0, 2.0, 2.0)
    assert not best.is_feasible


def test_spliced_states_vote_and_mask_as_where_they_come_from() -> None:
    kept, breaks = (0.5,) * STATES, (0.9,) * STATES
    first = candidate(epoch=1, kept=kept, breaks=breaks)
    second = candidate(epoch=2, kept=(0.4, 0.6, 0.4, 0.6), breaks=breaks)
    spliced = probe(seed=3)
    spliced.load_state_dict(best_of(first, second).state)
    states = [torch.randn(2, 3, width) for width in spliced.shape.widths]
    for index, epoch in enumerate((2, 1, 2, 1)):
        source = probe(seed=epoch)
        expected = source.gate_logits(states, index)
        assert torch.equal(spliced.gate_logits(states, index), expected)
        assert torch.equal(spliced.baseline(index), source.baseline(index))


def test_candidates_are_not_changed_by_splicing() -> None:
    breaks = (0.9,) * STATES
    first = candidate(epoch=1, kept=(0.5,) * STATES, breaks=breaks)
    second = candidate(epoch=2, kept=(0.4,) * STATES, breaks=breaks)
    best_of(first, second)
    expected = plain_state(probe(seed=1))
    assert all(torch.equal(first.state[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("kept", "breaks", "expected"),
    [
        ((0.4,) * STATES, (0.9,) * STATES, 2),  # sparser
        ((0.6,) * STATES, (0.9,) * STATES, 1),
        ((0.1,) * STATES, (0.9, 0.9, 0.9, 1.1), 1),  # over the limit in one state
        ((0.5,) * STATES, (0.9,) * STATES, 2),  # of equals, the later one
    ],
)
def test_an_input_probe_is_kept_whole(
    kept: tuple[float, ...], breaks: tuple[float, ...], expected: int
) -> None:
    first = candidate(
        epoch=1, kept=(0.5,) * STATES, breaks=(0.9,) * STATES, kind="input"
    )
    second = candidate(epoch=2, kept=kept, breaks=breaks, kind="input")
    assert best_of(first, second).epochs == (expected,) * STATES
