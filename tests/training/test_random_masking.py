from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from diffmask_training.families import state_modules
from diffmask_training.hooks import tapped
from diffmask_training.random_masking import RandomMasking
from tests.support.checkpoint import write_checkpoint

TEXTS = ["the film is good"] * 300 + ["bad"] * 300
EVERYTHING = RandomMasking(masked_share=1.0, hidden_share=0.0, max_mask_rate=1.0)


@pytest.fixture
def model(checkpoint: Path) -> PreTrainedModel:
    model: PreTrainedModel = BertForSequenceClassification.from_pretrained(checkpoint)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


@pytest.fixture
def tokenizer(checkpoint: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(checkpoint)


def _states(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    masking: RandomMasking,
) -> tuple[dict[str, Tensor], list[Tensor]]:
    # What each module puts out once its own masks are drawn.
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    seen: dict[int, Tensor] = {}
    torch.manual_seed(0)

    def keep(index: int, state: Tensor) -> Tensor:
        seen[index] = state
        return state

    modules = [module for _, module in state_modules(model)]
    with torch.no_grad(), masking.applied(model, tokenizer), tapped(modules, keep):
        model(**batch)
    return dict(batch), [seen[index] for index in sorted(seen)]


def test_masked_words_are_the_mask_token_s_and_never_special(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    batch, states = _states(model, tokenizer, EVERYTHING)
    plain = model.get_input_embeddings()(batch["input_ids"])
    changed = (states[0] != plain).any(dim=-1)
    mask_token = model.get_input_embeddings()(torch.tensor(4))
    assert bool((states[0][changed] == mask_token).all())
    assert bool((batch["input_ids"][changed] > 4).all())


def test_half_of_the_largest_rate_is_masked_on_average(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    masking = RandomMasking(masked_share=0.5, hidden_share=0.0, max_mask_rate=0.6)
    batch, states = _states(model, tokenizer, masking)
    plain = model.get_input_embeddings()(batch["input_ids"])
    changed = (states[0] != plain).any(dim=-1)
    share = changed.sum() / (batch["input_ids"] > 4).sum()
    assert float(share) == pytest.approx(0.15, abs=0.03)


def test_hidden_states_are_masked_by_their_mean(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    # Two blocks make four states, of which the second and the third can be masked.
    masking = RandomMasking(masked_share=1.0, hidden_share=1.0, max_mask_rate=1.0)
    nothing = RandomMasking(masked_share=0.0, hidden_share=1.0, max_mask_rate=1.0)
    batch, masked = _states(model, tokenizer, masking)
    _, plain = _states(model, tokenizer, nothing)
    assert torch.equal(masked[0], plain[0])
    changed = (masked[1] != plain[1]).any(dim=-1)
    mean = plain[1][batch["attention_mask"].bool()].mean(dim=0)
    assert torch.allclose(masked[1][changed], mean.expand(int(changed.sum()), -1))
    assert bool((batch["input_ids"][changed] > 4).all())
    share = changed.sum() / (batch["input_ids"] > 4).sum()
    assert float(share) == pytest.approx(0.25, abs=0.05)  # half of the texts, half each


def test_last_state_is_masked_where_the_head_reads_all_of_it(tmp_path: Path) -> None:
    directory = write_checkpoint(tmp_path, family="modernbert")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    masking = RandomMasking(masked_share=1.0, hidden_share=1.0, max_mask_rate=1.0)
    nothing = RandomMasking(masked_share=0.0, hidden_share=1.0, max_mask_rate=1.0)
    for pooling, is_masked in (("cls", False), ("mean", True)):
        model = AutoModelForSequenceClassification.from_pretrained(
            directory, classifier_pooling=pooling
        ).train()
        with torch.no_grad():
            model.base_model.layers[1].mlp.Wo.weight.zero_()
            model.base_model.layers[1].attn.Wo.weight.zero_()
        # The last block adds nothing, so what differs behind it was masked there.
        _, states = _states(model, tokenizer, masking)
        _, plain = _states(model, tokenizer, nothing)
        differs = (states[3] != states[2]).any()
        assert not (plain[3] != plain[2]).any()
        assert bool(differs) is is_masked


def test_nothing_is_masked_in_evaluation_nor_afterwards(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    masking = RandomMasking(masked_share=1.0, hidden_share=0.5, max_mask_rate=1.0)
    with torch.no_grad():
        plain = model(**batch).logits
        with masking.applied(model, tokenizer):
            assert not torch.equal(model(**batch).logits, plain)
            assert torch.equal(model.train(mode=False)(**batch).logits, plain)
        assert torch.equal(model.train()(**batch).logits, plain)
