from pathlib import Path

import pytest
import torch

from diffmask_training.batches import collate
from diffmask_training.classifier import load_classifier
from diffmask_training.encoding import encode
from diffmask_training.initialisation import initialise
from diffmask_training.probes import Probe, ProbeShape
from diffmask_training.records import Record
from tests.support.checkpoint import write_checkpoint

TEXTS = ("good film", "the plot is dull .", "it was awful and boring", "a fine film")


@pytest.mark.parametrize("family", ["bert", "electra"])
def test_statistics_standardise_real_tokens(family: str, tmp_path: Path) -> None:
    classifier = load_classifier(write_checkpoint(tmp_path, family=family))
    probe = Probe(
        ProbeShape(
            kind="input",
            num_states=4,
            hidden_size=32,
            bottleneck_size=4,
            embedding_size=classifier.encoder.embedding_size,
        )
    )
    records = [Record(text=text) for text in TEXTS]
    encodings = encode(records, classifier.tokenizer, 64, task=classifier.encoder.task)
    batch = collate(encodings, pad_id=0)
    initialise(probe, classifier.encoder, [batch], mask_id=4)
    with torch.no_grad():
        states = classifier.encoder.capture(batch.inputs).hidden_states
    for index, state in enumerate(states):
        tokens = state[batch.attention_mask.bool()]
        mean, scale = probe.statistics(index)
        tokens = (tokens - mean) / scale
        assert torch.allclose(tokens.mean(dim=0), torch.zeros_like(mean), atol=1e-4)
        assert float(tokens.square().mean()) == pytest.approx(1.0, abs=1e-3)
    words = classifier.encoder.model.get_input_embeddings()
    assert torch.equal(probe.baselines[0], words.weight[4])


def test_hidden_baselines_start_from_texts_of_masks(tmp_path: Path) -> None:
    classifier = load_classifier(write_checkpoint(tmp_path, family="bert"))
    encoder = classifier.encoder
    probe = Probe(
        ProbeShape(kind="hidden", num_states=4, hidden_size=32, bottleneck_size=4)
    )
    records = [Record(text=text) for text in TEXTS]
    encodings = encode(records, classifier.tokenizer, 64, task=encoder.task)
    batch = collate(encodings, pad_id=0)
    initialise(probe, encoder, [batch], mask_id=4)
    # One text after another, so that nothing of the batch's padding can enter.
    states = [
        encoder.capture(
            {
                "input_ids": torch.full((1, length), 4),
                "token_type_ids": torch.zeros(1, length, dtype=torch.long),
                "attention_mask": torch.ones(1, length, dtype=torch.long),
            }
        ).hidden_states
        for length in (len(encoding.input_ids) for encoding in encodings)
    ]
    for index in range(encoder.num_states):
        tokens = torch.cat([captured[index][0] for captured in states])
        assert torch.allclose(probe.baseline(index), tokens.mean(dim=0), atol=1e-5)
