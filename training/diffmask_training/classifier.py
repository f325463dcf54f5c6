"""Loading of a fine-tuned model: safetensors only, and with the head it needs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from diffmask_training.encoder import Encoder
from diffmask_training.errors import CheckpointError

# By the end of an architecture's name.
_HEADS: Mapping[str, Any] = {
    "ForSequenceClassification": AutoModelForSequenceClassification,
    "ForTokenClassification": AutoModelForTokenClassification,
    "ForQuestionAnswering": AutoModelForQuestionAnswering,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """A frozen fine-tuned model ready to be probed, whatever it predicts.

    Attributes:
        encoder: The model behind its adapter.
        tokenizer: Its tokenizer, a fast one.
        labels: Label names in index order; none where a span is predicted.
    """

    encoder: Encoder
    tokenizer: PreTrainedTokenizerBase
    labels: tuple[str, ...]


def load_classifier(
    directory: Path, *, no_answer_threshold: float | None = None
) -> Classifier:
    """Read a checkpoint directory as Hugging Face writes it.

    Args:
        directory: Holds `config.json`, `model.safetensors` and the tokenizer.
        no_answer_threshold: What no answer to a question must score over the best one,
            logits; None where every question has one, and for other tasks.

    Raises:
        CheckpointError: A part is missing, the model has none of the supported heads,
            or its type is not supported.
    """
    for name in ("config.json", "model.safetensors"):
        if not (directory / name).is_file():
            raise CheckpointError(
                f"{directory}: no {name}; name a directory that `save_pretrained` or"
                " `diffmask-train finetune` wrote (safetensors, not pickle)"
            )
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    architecture = next(iter(config.get("architectures") or []), "none")
    head = next((head for head in _HEADS if architecture.endswith(head)), None)
    if head is None:
        raise CheckpointError(
            f"{directory}: its architecture is {architecture}, which has no head for"
            " sequence classification, token classification or question answering;"
            " fine-tune it first, for example with `diffmask-train finetune`"
        )
    # The library's own bars and notes say nothing that the checks below do not.
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    model, report = _HEADS[head].from_pretrained(
        directory, output_loading_info=True, use_safetensors=True
    )
    if report["missing_keys"]:
        raise CheckpointError(
            f"{directory}: the checkpoint lacks {min(report['missing_keys'])}; its head"
            " would be random"
        )
    tokenizer = AutoTokenizer.from_pretrained(directory)
    if not tokenizer.is_fast:
        raise CheckpointError(
            f"{directory}: needs a fast tokenizer (tokenizer.json); save one with"
            " AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    if tokenizer.mask_token_id is None or tokenizer.pad_token_id is None:
        raise CheckpointError(
            f"{directory}: the tokenizer has no mask or padding token"
        )
    _refuse_other_vocabulary(directory, tokenizer, model.config.vocab_size)
    try:
        encoder = Encoder(model)
    except CheckpointError as error:
        raise CheckpointError(f"{directory}: {error}") from error
    encoder.task = encoder.task.with_no_answer(no_answer_threshold)
    return Classifier(
        encoder=encoder, tokenizer=tokenizer, labels=encoder.task.labels(model.config)
    )


def _refuse_other_vocabulary(
    directory: Path, tokenizer: PreTrainedTokenizerBase, num_embeddings: int
) -> None:
    # Models pad their embeddings, so they may hold more than the tokenizer knows.
    if len(tokenizer) > num_embeddings:
        raise CheckpointError(
            f"{directory}: the tokenizer knows {len(tokenizer)} tokens, the model has"
            f" embeddings for {num_embeddings}; put the model's own tokenizer beside"
            " it, or resize its embeddings"
        )
