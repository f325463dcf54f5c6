from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    XLMConfig,
    XLMForSequenceClassification,
)

from diffmask_training.encoder import Encoder
from diffmask_training.errors import CheckpointError
from tests.support.checkpoint import FAMILIES, write_checkpoint


@pytest.fixture(scope="module", params=FAMILIES)
def encoder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Encoder:
    directory = tmp_path_factory.mktemp(request.param)
    write_checkpoint(directory, family=request.param)
    return Encoder(AutoModelForSequenceClassification.from_pretrained(directory))


@pytest.fixture
def inputs(encoder: Encoder) -> dict[str, Tensor]:
    pad_id = encoder.model.config.pad_token_id
    ids = torch.tensor([[2, 5, 9, 13, 3], [2, 6, 3, pad_id, pad_id]])
    return {"input_ids": ids, "attention_mask": (ids != pad_id).long()}


def _random_state(encoder: Encoder, index: int) -> Tensor:
    generator = torch.Generator().manual_seed(index)
    return torch.randn(2, 5, encoder.widths[index], generator=generator)


def _tiny_bert() -> BertForSequenceClassification:
    config = BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
    )
    return BertForSequenceClassification(config)


@torch.no_grad()
def test_states_are_the_library_s_own_hidden_states(
    encoder: Encoder, inputs: dict[str, Tensor]
) -> None:
    model = encoder.model
    theirs = model(**inputs, output_hidden_states=True)
    captured = encoder.capture(inputs)
    words = model.get_input_embeddings()(inputs["input_ids"])
    assert torch.equal(captured.logits, theirs.logits)
    assert torch.equal(captured.hidden_states[0], words)
    ours = list(captured.hidden_states[1:])
    if model.config.model_type == "modernbert":
        # The library's last state is that after a norm which belongs to no block.
        ours[-1] = model.base_model.final_norm(ours[-1])
    for state, expected in zip(ours, theirs.hidden_states, strict=True):
        assert torch.equal(state, expected)


@torch.no_grad()
def test_replacing_nothing_changes_nothing(
    encoder: Encoder, inputs: dict[str, Tensor]
) -> None:
    captured = encoder.capture(inputs)
    for index, state in enumerate(captured.hidden_states):
        again = encoder.run_from(inputs, index, state)
        assert torch.allclose(again, captured.logits, atol=1e-6)


@torch.no_grad()
def test_replaced_words_change_every_state_above(
    encoder: Encoder, inputs: dict[str, Tensor]
) -> None:
    plain = encoder.capture(inputs).hidden_states
    changed = encoder.capture(inputs, lambda words: words.roll(1, dims=1)).hidden_states
    assert torch.equal(changed[0], plain[0].roll(1, dims=1))
    for found, expected in zip(changed[1:], plain[1:], strict=True):
        assert not torch.allclose(found, expected)


@torch.no_grad()
def test_replaced_state_leaves_the_states_below_alone(
    encoder: Encoder, inputs: dict[str, Tensor]
) -> None:
    plain = encoder.capture(inputs).hidden_states
    for index in range(encoder.num_states):
        found = encoder._capture(inputs, {index: torch.zeros_like}).hidden_states
        assert not found[index].any()
        for below, expected in zip(found[:index], plain[:index], strict=True):
            assert torch.equal(below, expected)


@torch.no_grad()
def test_run_from_words_equals_the_library_fed_with_embeddings(
    encoder: Encoder, inputs: dict[str, Tensor]
) -> None:
    words = _random_state(encoder, 0)
    ours = encoder.run_from(inputs, 0, words)
    theirs = encoder.model(
        inputs_embeds=words, attention_mask=inputs["attention_mask"]
    ).logits
    assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("chosen", [(0, 1, 2, 3), (1, 3), (2, 3), (0, 3)])
@torch.no_grad()
def test_texts_may_enter_one_run_at_different_states(
    encoder: Encoder, inputs: dict[str, Tensor], chosen: tuple[int, ...]
) -> None:
    states = {index: _random_state(encoder, index) for index in chosen}
    repeated = {
        name: torch.cat([value] * len(chosen)) for name, value in inputs.items()
    }
    together = encoder.run_from_each(repeated, states)
    alone = [encoder.run_from(inputs, i, state) for i, state in states.items()]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


@torch.no_grad()
def test_a_batch_as_large_as_a_table_of_positions_is_cut_alone(
    encoder: Encoder,
) -> None:
    # DeBERTa hands its blocks a table of 32 relative positions, in which a cut by size
    # would see a batch of 32.
    ids = torch.full((32, 4), 5)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    states = encoder.capture(inputs).hidden_states
    entering = {0: states[0][:16], 3: states[3][16:]}
    plain = encoder.model(**inputs).logits
    assert torch.allclose(encoder.run_from_each(inputs, entering), plain, atol=1e-5)


@torch.no_grad()
def test_modules_are_themselves_again_after_a_run(
    encoder: Encoder, inputs: dict[str, Tensor]
) -> None:
    before = encoder.model(**inputs).logits
    encoder.run_from(inputs, 3, torch.zeros(2, 5, 32))
    assert torch.equal(encoder.model(**inputs).logits, before)


def test_no_parameter_is_trainable_and_dropout_is_off(encoder: Encoder) -> None:
    assert not encoder.model.training
    assert not any(p.requires_grad for p in encoder.model.parameters())


def test_gradient_reaches_the_replaced_state(
    encoder: Encoder, inputs: dict[str, Tensor]
) -> None:
    captured = encoder.capture(inputs)
    state: Tensor = captured.hidden_states[1].clone().requires_grad_()
    torch.autograd.backward(encoder.run_from(inputs, 1, state).sum())
    assert state.grad is not None
    assert float(state.grad.abs().sum()) > 0


@torch.no_grad()
def test_longest_text_runs(encoder: Encoder) -> None:
    assert encoder.max_tokens == 512
    ids = torch.full((1, 512), 5)
    logits = encoder.capture({"input_ids": ids, "attention_mask": ids}).logits
    assert torch.isfinite(logits).all()


def test_inputs_that_the_model_does_not_take_are_passed_over(
    encoder: Encoder, inputs: dict[str, Tensor]
) -> None:
    # No family with a single segment takes the index of a second one.
    has_segments = encoder.model.config.model_type in {"albert", "bert", "electra"}
    assert ("token_type_ids" in encoder.inputs) is has_segments
    segments = torch.ones_like(inputs["input_ids"])
    with torch.no_grad():
        plain = encoder.capture(inputs).logits
        second = encoder.capture({**inputs, "token_type_ids": segments}).logits
    assert torch.equal(plain, second) is not has_segments


def test_narrow_word_embeddings_are_widened_before_the_first_block(
    encoder: Encoder,
) -> None:
    is_narrow = encoder.model.config.model_type in {"albert", "electra"}
    assert encoder.widths == (16 if is_narrow else 32, 32, 32, 32)


def test_reduced_precision_passes_the_proof(tmp_path: Path, encoder: Encoder) -> None:
    family = encoder.model.config.model_type
    directory = write_checkpoint(tmp_path, family=family)
    model = AutoModelForSequenceClassification.from_pretrained(directory)
    assert Encoder(model.bfloat16()).states == encoder.states


def test_unsupported_family_is_refused_with_the_list() -> None:
    config = XLMConfig(vocab_size=20, emb_dim=8, n_layers=1, n_heads=2)
    with pytest.raises(
        CheckpointError, match=r"'xlm' is not supported; .* albert, bert, .*xlm-roberta"
    ):
        Encoder(XLMForSequenceClassification(config))


def test_model_that_ignores_a_state_is_refused() -> None:
    model = _tiny_bert()
    model.classifier.weight.data.zero_()
    with pytest.raises(CheckpointError, match="changes nothing"):
        Encoder(model)


def test_model_that_reads_past_a_state_is_refused() -> None:
    # What the convolution of DeBERTa's version 2 adds to the first block's output comes
    # from below that block.
    config = DebertaV2Config(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        initializer_range=0.3,
    )
    config.conv_kernel_size = 3
    with pytest.raises(CheckpointError, match="does not follow from state block_1"):
        Encoder(DebertaV2ForSequenceClassification(config))


def test_model_whose_blocks_are_called_less_often_is_refused() -> None:
    model = _tiny_bert()
    model.config.num_hidden_layers = 3
    with pytest.raises(CheckpointError, match="expected 5 hidden states"):
        Encoder(model)
