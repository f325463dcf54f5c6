import pytest
import torch

from diffmask_training.classifier import Classifier
from diffmask_training.export.graph import FusedModule
from diffmask_training.export.merged_probes import MergedProbes
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.masking import hard_gates, masked_logits
from diffmask_training.probes import Probe, ProbeKind, ProbeShape

SHAPE = HardConcreteShape()
IDS = torch.tensor([[2, 5, 9, 13, 3], [2, 6, 3, 0, 0]])
MASK = (IDS != 0).long()
TYPES = torch.zeros_like(IDS)
INPUTS = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": TYPES}


def _probe(
    kind: ProbeKind, bottleneck_size: int = 4, embedding_size: int = 32
) -> Probe:
    torch.manual_seed(len(kind))
    probe = Probe(
        ProbeShape(
            kind=kind,
            num_states=4,
            hidden_size=32,
            bottleneck_size=bottleneck_size,
            embedding_size=embedding_size,
        )
    )
    with torch.no_grad():
        probe.mean.normal_()
        probe.scale.uniform_(0.5, 2.0)
        probe.bias.normal_()
        probe.baselines.normal_()
    return probe


@torch.no_grad()
def test_fused_module_equals_the_probes_it_was_made_from(
    classifier: Classifier,
) -> None:
    encoder = classifier.encoder
    input_probe, hidden_probe = _probe("input"), _probe("hidden", 6)
    module = FusedModule(encoder, input_probe, hidden_probe, SHAPE)
    logits, input_gates, hidden_gates = module(INPUTS, torch.ones(2, 5))
    captured = encoder.capture(INPUTS)
    assert torch.allclose(logits, captured.logits, atol=1e-6)
    for index in range(4):
        for probe, found in ((input_probe, input_gates), (hidden_probe, hidden_gates)):
            expected = hard_gates(probe, captured.hidden_states, index, SHAPE)
            difference = (expected.keep_probability - found[:, index]).abs().max()
            assert difference < 1e-5


@pytest.mark.parametrize("embedding_size", [16, 32, 48])
@torch.no_grad()
def test_merged_probes_read_word_embeddings_of_any_width(embedding_size: int) -> None:
    probes = [_probe(kind, 4, embedding_size) for kind in ("input", "hidden")]
    generator = torch.Generator().manual_seed(0)
    states = tuple(
        torch.randn(2, 5, width, generator=generator)
        for width in probes[0].shape.widths
    )
    found = MergedProbes(*probes)(states)  # [batch, 2 * layers, tokens]
    expected = [probe.gate_logits(states, i) for probe in probes for i in range(4)]
    assert torch.allclose(found, torch.stack(expected, dim=1), atol=1e-4)


@torch.no_grad()
def test_keep_input_is_the_mask_of_the_input_probe(classifier: Classifier) -> None:
    probe = _probe("input")
    module = FusedModule(classifier.encoder, probe, _probe("hidden"), SHAPE)
    captured = classifier.encoder.capture(INPUTS)
    gates = hard_gates(probe, captured.hidden_states, 3, SHAPE).values
    expected = masked_logits(
        classifier.encoder,
        INPUTS,
        captured,
        probe=probe,
        state_index=3,
        gates=gates,
    )
    assert torch.allclose(module(INPUTS, gates)[0], expected, atol=1e-6)


@pytest.mark.parametrize("keep", [0.0, 0.5])
@torch.no_grad()
def test_probes_read_the_states_of_the_run_as_it_is(
    classifier: Classifier, keep: float
) -> None:
    probe = _probe("input")
    module = FusedModule(classifier.encoder, probe, _probe("hidden"), SHAPE)
    captured = classifier.encoder.capture(
        INPUTS, lambda words: keep * words + (1 - keep) * probe.baselines[0]
    )
    _, gates, _ = module(INPUTS, torch.full((2, 5), keep))
    expected = hard_gates(probe, captured.hidden_states, 3, SHAPE).keep_probability
    assert torch.allclose(gates[:, 3], expected, atol=1e-5)
