"""What differs from family to family of encoders, as data: the one list of them.

Everything else that the adapter needs it reads off the loaded model. A family that is
added here has a tiny checkpoint in the tests.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import transformers
from torch import nn
from transformers import PreTrainedModel

from diffmask_training.errors import CheckpointError

_INPUTS = ("input_ids", "attention_mask")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Where the models of one type keep what makes their states.

    Paths lead down from the backbone, the classifier without its head.

    Attributes:
        embeddings: Paths of the modules whose output the first block reads; the first
            that the model has is meant. A projection of narrow word embeddings comes
            before the module whose output it widens.
        blocks: Path of the list of blocks. Where it holds fewer than the model is deep,
            each is called as often as its share of the depth.
        batched_arguments: Names of the arguments of a block, besides its state, that
            have a row for each text.
        has_offset_positions: Whether positions are numbered from behind the padding
            index, so that the look-up is that much longer than the longest text.
        fuses_attention: Whether its attention is fused at export. That of DeBERTa
            scores positions by what stands there, for which there is no fused form.
    """

    embeddings: tuple[str, ...] = ("embeddings",)
    blocks: str = "encoder.layer"
    batched_arguments: tuple[str, ...] = ("attention_mask",)
    has_offset_positions: bool = False
    fuses_attention: bool = True


_FAMILY_BY_TYPE: Mapping[str, Family] = {
    "albert": Family(
        embeddings=("encoder.embedding_hidden_mapping_in",),
        blocks="encoder.albert_layer_groups",
    ),
    "bert": Family(),
    "deberta": Family(fuses_attention=False),
    "deberta-v2": Family(fuses_attention=False),
    "distilbert": Family(blocks="transformer.layer"),
    "electra": Family(embeddings=("embeddings_project", "embeddings")),
    "modernbert": Family(blocks="layers"),
    "mpnet": Family(
        batched_arguments=("attention_mask", "position_bias"),
        has_offset_positions=True,
    ),
    "roberta": Family(has_offset_positions=True),
    "xlm-roberta": Family(has_offset_positions=True),
}
SUPPORTED = tuple(_FAMILY_BY_TYPE)


def family_of(model: PreTrainedModel) -> Family:
    """Return the family of a model.

    Raises:
        CheckpointError: It is not supported.
    """
    model_type = model.config.model_type
    if model_type not in _FAMILY_BY_TYPE:
        raise CheckpointError(
            f"model type {model_type!r} is not supported; supported are"
            f" {', '.join(SUPPORTED)}"
        )
    return _FAMILY_BY_TYPE[model_type]


def state_modules(model: PreTrainedModel) -> list[tuple[str, nn.Module]]:
    """Return the name of every state, index 0 first, and the module that makes it.

    A module that makes several states is listed for each, in the order of its calls.

    Raises:
        CheckpointError: The model is of a family that is not supported, or the library
            keeps its parts elsewhere.
    """
    family = family_of(model)
    modules = list(cast(nn.ModuleList, _part(model, family.blocks)))
    depth = int(model.config.num_hidden_layers)
    # The library's own rule for which module a call goes to.
    blocks = [modules[int(call / (depth / len(modules)))] for call in range(depth)]
    return [
        ("word_embeddings", model.get_input_embeddings()),
        ("embeddings", _part(model, *family.embeddings)),
        *((f"block_{number}", block) for number, block in enumerate(blocks, start=1)),
    ]


def input_names(model: PreTrainedModel) -> tuple[str, ...]:
    """Return the names of the inputs that a model takes, segments where it has any."""
    parameters = inspect.signature(model.forward).parameters
    has_segments = getattr(model.config, "type_vocab_size", 0) > 1
    if "token_type_ids" in parameters and has_segments:
        return (*_INPUTS, "token_type_ids")
    return _INPUTS


def max_tokens(model: PreTrainedModel) -> int:
    """Return the longest input of a model, tokens, special tokens counted.

    Raises:
        CheckpointError: The model is of a family that is not supported.
    """
    num_positions = int(model.config.max_position_embeddings)
    if not family_of(model).has_offset_positions:
        return num_positions
    padding_index = cast(int, _part(model, "embeddings").padding_idx)
    return num_positions - padding_index - 1


def expected_attentions(model: PreTrainedModel) -> int:
    """Return how many attention operators a model's graph must hold once fused.

    Raises:
        CheckpointError: The model is of a family that is not supported.
    """
    if not family_of(model).fuses_attention:
        return 0
    # A block of ALBERT may hold several layers.
    per_block = getattr(model.config, "inner_group_num", 1)
    return int(model.config.num_hidden_layers * per_block)


def pools_every_token(model: PreTrainedModel) -> bool:
    """Return whether the head reads every token of the last state, not one alone."""
    return getattr(model.config, "classifier_pooling", "cls") != "cls"


def _part(model: PreTrainedModel, *paths: str) -> nn.Module:
    modules: dict[str, nn.Module] = dict(model.base_model.named_modules())
    for path in paths:
        if path in modules:
            return modules[path]
    raise CheckpointError(
        f"a {model.config.model_type} model has no {' nor '.join(paths)} in"
        f" transformers {transformers.__version__}; install a version that the training"
        " extra names"
    )
