"""Reading of models and tokenizers from a directory, as Hugging Face writes them.

The library names what is wrong in its own terms, by any exception, or in a log alone,
and fills gaps with random weights and empty vocabularies. Here every such case is an
error that names the directory and the cause.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from diffmask_training.errors import CheckpointError

# By the end of an architecture's name.
HEADS: Mapping[str, Any] = {
    "ForSequenceClassification": AutoModelForSequenceClassification,
    "ForTokenClassification": AutoModelForTokenClassification,
    "ForQuestionAnswering": AutoModelForQuestionAnswering,
}
_REMEDY = (
    "name a directory that `save_pretrained` or `diffmask-train finetune` wrote"
    " (safetensors, not pickle)"
)
# Without one of these the library makes up a tokenizer that knows special tokens only.
_VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model")


def read_settings(directory: Path) -> dict[str, Any]:
    """Return what a model directory's `config.json` says.

    Raises:
        CheckpointError: It is missing or malformed, or there are no weights beside it.
    """
    for name in ("config.json", "model.safetensors"):
        if not (directory / name).is_file():
            raise CheckpointError(f"{directory}: no {name}; {_REMEDY}")
    try:
        settings = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{directory}: config.json cannot be read ({error}); {_REMEDY}"
        ) from error
    if not isinstance(settings, dict):
        raise CheckpointError(f"{directory}: config.json holds no object; {_REMEDY}")
    return settings


def read_model(
    directory: Path, auto_class: Any, *, new_head: bool = False, **settings: Any
) -> PreTrainedModel:
    """Read a model, with every weight as the directory has it.

    Args:
        directory: Holds `config.json` and `model.safetensors`.
        auto_class: The library's class of models with the wanted head.
        new_head: Whether the head may be made anew, where there is none or another.
        **settings: What goes before the directory's `config.json`.

    Raises:
        CheckpointError: The weights are damaged, lack something, are not those of its
            `config.json`, or are not finite.
    """
    # The library's own bars and notes say nothing that the checks below do not.
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        model, report = auto_class.from_pretrained(
            directory,
            output_loading_info=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are reported, and refused below
            **settings,
        )
    # Whatever the file or the library's own reader makes of it.
    except Exception as error:
        raise CheckpointError(
            f"{directory}: the model cannot be read ({_first_line(error)}); {_REMEDY}"
        ) from error
    body = f"{model.base_model_prefix}."

    def is_wanted(name: str) -> bool:
        # Poolers belong to the head: pretraining without one leaves it out.
        return not new_head or (name.startswith(body) and "pooler" not in name)

    _refuse_gaps(directory, report, is_wanted)
    for name, weights in model.named_parameters():
        if not bool(torch.isfinite(weights).all()):
            raise CheckpointError(
                f"{directory}: the weights {name} are not all finite; the training"
                " that they come from went astray"
            )
    return model  # type: ignore[no-any-return]


def read_tokenizer(
    directory: Path, model: PreTrainedModel | None = None
) -> PreTrainedTokenizerBase:
    """Read a model's tokenizer, a fast one that masks and pads.

    Args:
        directory: Of the model.
        model: The model; None where it is not at hand to be compared with.

    Raises:
        CheckpointError: It is missing or malformed, has no mask or padding token, or
            knows tokens that the model does not.
    """
    if not any(path for name in _VOCABULARIES for path in directory.glob(name)):
        raise CheckpointError(
            f"{directory}: no tokenizer beside the model; save its own there with"
            " AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(directory)
    except Exception as error:  # as for the model
        raise CheckpointError(
            f"{directory}: the tokenizer cannot be read ({_first_line(error)}); save"
            " one with AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        ) from error
    if not tokenizer.is_fast:
        raise CheckpointError(
            f"{directory}: needs a fast tokenizer (tokenizer.json); save one with"
            " AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    if tokenizer.mask_token_id is None or tokenizer.pad_token_id is None:
        raise CheckpointError(
            f"{directory}: the tokenizer has no mask or padding token"
        )
    if model is not None:
        _refuse_unknown(directory, tokenizer, model)
    return tokenizer


def weights_digest(directory: Path) -> str:
    """Return a short name of a model's weights: the start of their sha256."""
    with (directory / "model.safetensors").open("rb") as stream:
        return f"sha256 {hashlib.file_digest(stream, 'sha256').hexdigest()[:16]}"


def _refuse_unknown(
    directory: Path, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel
) -> None:
    embeddings: Any = model.get_input_embeddings()
    num_embeddings = embeddings.weight.shape[0]
    # Models pad their embeddings, so they may hold more than the tokenizer knows.
    highest = max(tokenizer.get_vocab().values(), default=0)
    if highest >= num_embeddings:
        raise CheckpointError(
            f"{directory}: the tokenizer knows {len(tokenizer)} tokens, with ids up to"
            f" {highest}, the model has embeddings for {num_embeddings}; put the"
            " model's own tokenizer beside it, or resize its embeddings"
        )


def _refuse_gaps(
    directory: Path, report: Mapping[str, Any], is_wanted: Callable[[str], bool]
) -> None:
    for name, found, expected in sorted(report["mismatched_keys"]):
        if is_wanted(name):
            raise CheckpointError(
                f"{directory}: the weights {name} have the shape {list(found)},"
                f" config.json asks for {list(expected)}; put the model's own"
                " config.json beside them"
            )
    missing = sorted(name for name in report["missing_keys"] if is_wanted(name))
    if missing:
        raise CheckpointError(
            f"{directory}: the checkpoint lacks {missing[0]}, which would be random"
        )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:200]
