from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from diffmask_training.classifier import Classifier
from diffmask_training.encoder import Encoder
from diffmask_training.errors import CheckpointError

IDS = torch.tensor([[2, 5, 9, 13, 3], [2, 6, 3, 0, 0]])
INPUTS = {"input_ids": IDS, "attention_mask": (IDS != 0).long()}


@torch.no_grad()
def test_states_are_the_library_s_own_hidden_states(classifier: Classifier) -> None:
    model = classifier.encoder.model
    theirs = model(**INPUTS, output_hidden_states=True)
    captured = classifier.encoder.capture(INPUTS)
    words = model.get_input_embeddings()(IDS)
    assert torch.equal(captured.logits, theirs.logits)
    assert torch.equal(captured.hidden_states[0], words)
    for ours, expected in zip(
        captured.hidden_states[1:], theirs.hidden_states, strict=True
    ):
        assert torch.equal(ours, expected)


@torch.no_grad()
def test_replacing_nothing_changes_nothing(classifier: Classifier) -> None:
    encoder = classifier.encoder
    captured = encoder.capture(INPUTS)
    for index, state in enumerate(captured.hidden_states):
        again = encoder.run_from(INPUTS, index, state)
        assert torch.allclose(again, captured.logits, atol=1e-6)


@torch.no_grad()
def test_replaced_state_leaves_the_states_below_alone(classifier: Classifier) -> None:
    encoder = classifier.encoder
    plain = encoder.capture(INPUTS)
    changed = encoder.capture(INPUTS, lambda words: words * 0.5)
    assert torch.equal(changed.hidden_states[0], plain.hidden_states[0] * 0.5)
    assert not torch.allclose(changed.hidden_states[-1], plain.hidden_states[-1])


@torch.no_grad()
def test_run_from_a_state_equals_the_library_fed_with_embeddings(
    classifier: Classifier,
) -> None:
    encoder = classifier.encoder
    words = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))
    ours = encoder.run_from(INPUTS, 0, words)
    theirs = encoder.model(
        inputs_embeds=words, attention_mask=INPUTS["attention_mask"]
    ).logits
    assert torch.allclose(ours, theirs, atol=1e-6)


@torch.no_grad()
def test_texts_may_enter_one_run_at_different_states(classifier: Classifier) -> None:
    encoder = classifier.encoder
    states = [
        torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(i))
        for i in range(encoder.num_states)
    ]
    for chosen in ((0, 1, 2, 3), (1, 3), (2, 3), (0, 3)):
        inputs = {
            name: torch.cat([value] * len(chosen)) for name, value in INPUTS.items()
        }
        together = encoder.run_from_each(inputs, {i: states[i] for i in chosen})
        alone = [encoder.run_from(INPUTS, i, states[i]) for i in chosen]
        assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_blocks_are_themselves_again_after_a_run(classifier: Classifier) -> None:
    encoder = classifier.encoder
    before = encoder.capture(INPUTS).logits
    encoder.run_from(INPUTS, encoder.num_states - 1, torch.zeros(2, 5, 32))
    assert torch.equal(encoder.capture(INPUTS).logits, before)


def test_no_parameter_is_trainable_and_dropout_is_off(classifier: Classifier) -> None:
    model = classifier.encoder.model
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_gradient_reaches_the_replaced_state(classifier: Classifier) -> None:
    captured = classifier.encoder.capture(INPUTS)
    state: Tensor = captured.hidden_states[1].clone().requires_grad_()
    torch.autograd.backward(classifier.encoder.run_from(INPUTS, 1, state).sum())
    assert state.grad is not None
    assert float(state.grad.abs().sum()) > 0


def test_unsupported_family_is_refused_with_the_list() -> None:
    config = DistilBertConfig(
        vocab_size=20, dim=8, n_layers=1, n_heads=2, hidden_dim=16
    )
    with pytest.raises(CheckpointError, match=r"'distilbert' is not supported.* bert"):
        Encoder(DistilBertForSequenceClassification(config))


def test_model_that_ignores_a_state_is_refused(checkpoint: Path) -> None:
    del checkpoint
    config = BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
    )
    model = BertForSequenceClassification(config)
    torch.nn.init.zeros_(model.classifier.weight)
    with pytest.raises(CheckpointError, match="changes nothing"):
        Encoder(model)
