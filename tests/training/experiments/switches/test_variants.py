import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from diffmask_training.batches import TensorBatch, collate
from diffmask_training.classifier import Classifier
from diffmask_training.config import FitConfig
from diffmask_training.encoding import encode
from diffmask_training.experiments.switches.variants import (
    VARIANTS,
    Biasless,
    OwnState,
    ScoreFunction,
    SingleVote,
    Unbounded,
    ZeroBaseline,
)
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.masked_runs import Drawn, MaskedRuns, Masking
from diffmask_training.masking import SampledGates, draw_noise, hard_gates
from diffmask_training.primal import Primal
from diffmask_training.probes import Probe, ProbeShape
from diffmask_training.records import Record

SHAPE = ProbeShape(
    kind="input", num_states=3, hidden_size=4, bottleneck_size=3, initial_bias=2.0
)
STATES = tuple(torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(0)))


def _probe(kind: type[Probe]) -> Probe:
    torch.manual_seed(0)
    return kind(SHAPE)


def test_every_variant_descends() -> None:
    # Frozen biases and baselines must not stop the optimiser or the clipping.
    for variant in VARIANTS.values():
        probe = _probe(variant.parts.probe)
        primal = Primal(probe, FitConfig().descent(10))
        torch.autograd.backward(probe.gate_logits(STATES, 2).sum())
        before = probe.scores(STATES, 2).detach()
        assert bool(primal.clip().isfinite().all())
        primal.step()
        assert not torch.equal(before, probe.scores(STATES, 2))


def test_zero_baseline_stays_zero() -> None:
    probe = _probe(ZeroBaseline)
    torch.nn.init.ones_(probe.baselines)
    assert not probe.baseline(0).any()
    assert not probe.baseline(0).requires_grad


def test_unbounded_gates_pass_the_bound() -> None:
    large = torch.tensor([50.0])
    assert _probe(Unbounded).bounded(large, 0).item() == 52
    assert _probe(Probe).bounded(large, 0).item() == 12


def test_gates_without_a_bias_start_half_open() -> None:
    probe = _probe(Biasless)
    assert not probe.bias.any()
    assert not probe.bias.requires_grad


@pytest.mark.parametrize(("kind", "is_read"), [(OwnState, False), (Probe, True)])
def test_word_is_read_beside_the_state(kind: type[Probe], is_read: bool) -> None:
    probe = _probe(kind)
    others = (STATES[0] + 1, *STATES[1:])
    differs = not torch.equal(probe.scores(STATES, 2), probe.scores(others, 2))
    assert differs == is_read
    assert not torch.equal(probe.scores(STATES, 0), probe.scores(others, 0))


def test_single_vote_leaves_out_those_below() -> None:
    probe = _probe(SingleVote)
    with torch.no_grad():
        probe.bias[0] = -30.0  # shut, whatever the network says
    shape = HardConcreteShape()
    assert bool(hard_gates(probe, STATES, 2, shape).values.all())
    assert not hard_gates(_shut(probe), STATES, 2, shape).values.any()


def _shut(single: Probe) -> Probe:
    probe = _probe(Probe)
    probe.load_state_dict(single.state_dict())
    return probe


class _Runs(ScoreFunction):
    """Needs no model: figures alone are asked for."""

    def __init__(self) -> None:
        self.sparsity = "linear"
        self._running = {0: torch.tensor(0.3)}


def _outcomes() -> Iterator[tuple[float, ...]]:
    return itertools.product((0.0, 1.0), repeat=3)


def test_score_function_has_the_gradient_of_the_expectation() -> None:
    # All eight outcomes of three gates, each by its chance: the mean gradient is that
    # of the expected divergence, in closed form.
    logits = torch.tensor([0.3, -0.7, 1.1], requires_grad=True)
    cost = torch.tensor([0.5, 1.0, 2.0])
    chances = torch.sigmoid(logits)
    (expected,) = torch.autograd.grad((cost * (1 - chances)).sum(), logits)
    found = torch.zeros(3)
    for outcome in _outcomes():
        values = torch.tensor([outcome])
        keep = torch.sigmoid(logits)[None]
        chance = torch.where(values > 0, keep, 1 - keep).prod().item()
        gates = SampledGates(
            values=values,
            keep_probability=keep,
            log_keep_probability=keep.log(),
            energy=torch.zeros(1, 3),
        )
        part = Drawn(
            state_index=0,
            states=(),
            inputs={"attention_mask": torch.ones(1, 3)},
            original=torch.zeros(1, 2),
            gates=gates,
        )
        divergence = (cost * (1 - values)).sum(dim=1)
        figures = _Runs().figures(part, divergence, torch.zeros(1))
        assert figures.divergence.item() == pytest.approx(divergence.item())
        (gradient,) = torch.autograd.grad(figures.divergence.sum(), logits)
        found += chance * gradient
    assert torch.allclose(found, expected, atol=1e-6)


def _batch(classifier: Classifier) -> TensorBatch:
    records = [Record(text=text, label=0) for text in ("good film", "it is dull .")]
    task = classifier.encoder.task
    return collate(encode(records, classifier.tokenizer, 64, task=task), pad_id=0)


def _plain(values: Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def test_reinforce_draws_open_or_shut_gates_alone(classifier: Classifier) -> None:
    batch = _batch(classifier)
    encoder = classifier.encoder
    shape = ProbeShape(
        kind="input", num_states=4, hidden_size=32, bottleneck_size=4, initial_bias=0.0
    )
    torch.manual_seed(0)
    probe = Probe(shape)
    noise = draw_noise(
        probe, 1, num_texts=2, num_tokens=6, generator=torch.Generator().manual_seed(0)
    )
    masking = Masking(state_index=1, texts=torch.arange(2), noise=noise)
    captured = encoder.capture(batch.inputs)
    drawn: dict[type[MaskedRuns], Tensor] = {}
    for kind in (ScoreFunction, MaskedRuns):
        runs = kind(
            encoder,
            probe,
            relaxation="soft",
            sparsity="linear",
            with_complement=False,
        )
        drawn[kind] = runs.draw(batch.inputs, captured, masking).gates.values
    assert _plain(drawn[ScoreFunction])
    assert not _plain(drawn[MaskedRuns])
