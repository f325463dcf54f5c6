import pytest
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from diffmask_training.errors import CheckpointError
from diffmask_training.families import (
    SUPPORTED,
    expected_attentions,
    input_names,
    max_tokens,
    pools_every_token,
    state_modules,
)
from tests.support.checkpoint import FAMILIES

SIZES = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 66,
    "pad_token_id": 3,
}


def _model(family: str, **changes: object) -> PreTrainedModel:
    config = AutoConfig.for_model(family, **{**SIZES, **changes})
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
        config
    )
    return model


def test_every_supported_family_has_a_tiny_checkpoint() -> None:
    assert sorted(FAMILIES) == sorted(SUPPORTED)


@pytest.mark.parametrize(
    ("family", "expected"),
    # MPNet numbers positions from 2, whatever its padding index.
    [("bert", 66), ("modernbert", 66), ("roberta", 62), ("mpnet", 64)],
)
def test_positions_before_the_first_token_s_are_not_counted(
    family: str, expected: int
) -> None:
    assert max_tokens(_model(family)) == expected


def test_segments_are_an_input_only_where_there_are_two() -> None:
    for num_segments, is_input in ((0, False), (1, False), (2, True)):
        model = _model("deberta-v2", type_vocab_size=num_segments)
        assert ("token_type_ids" in input_names(model)) is is_input


def test_blocks_that_share_weights_are_listed_for_each_call() -> None:
    model = _model("albert", num_hidden_groups=2, embedding_size=4)
    modules = [module for _, module in state_modules(model)]
    first, second = model.base_model.get_submodule(
        "encoder.albert_layer_groups"
    ).children()
    assert modules[2:] == [first, first, second, second]


def test_part_that_the_library_keeps_elsewhere_is_named() -> None:
    model = _model("bert")
    model.base_model.body = model.base_model.encoder
    del model.base_model.encoder
    with pytest.raises(CheckpointError, match=r"bert model has no encoder\.layer in"):
        state_modules(model)


def test_attentions_of_a_block_of_several_layers_all_count() -> None:
    assert expected_attentions(_model("albert", inner_group_num=3)) == 12
    assert expected_attentions(_model("roberta")) == 4
    assert expected_attentions(_model("deberta-v2")) == 0


def test_head_that_takes_a_mean_reads_every_token() -> None:
    assert not pools_every_token(_model("bert"))
    modern = {"cls_token_id": 1, "sep_token_id": 2}
    for pooling, reads_all in (("cls", False), ("mean", True)):
        model = _model("modernbert", classifier_pooling=pooling, **modern)
        assert pools_every_token(model) is reads_all
