"""Loading of a fine-tuned classifier: safetensors only, and with the head it needs."""

import json
from dataclasses import dataclass
from pathlib import Path

from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from diffmask_training.encoder import Encoder
from diffmask_training.errors import CheckpointError


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """A frozen classifier ready to be probed.

    Attributes:
        encoder: The model behind its adapter.
        tokenizer: Its tokenizer, a fast one.
        labels: Label names in index order.
    """

    encoder: Encoder
    tokenizer: PreTrainedTokenizerBase
    labels: tuple[str, ...]


def load_classifier(directory: Path) -> Classifier:
    """Read a checkpoint directory as Hugging Face writes it.

    Args:
        directory: Holds `config.json`, `model.safetensors` and the tokenizer.

    Raises:
        CheckpointError: A part is missing, the model has no classification head, or its
            type is not supported.
    """
    for name in ("config.json", "model.safetensors"):
        if not (directory / name).is_file():
            raise CheckpointError(
                f"{directory}: no {name}; name a directory that `save_pretrained` or"
                " `diffmask-train finetune` wrote (safetensors, not pickle)"
            )
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    architecture = next(iter(config.get("architectures") or []), "none")
    if not architecture.endswith("ForSequenceClassification"):
        raise CheckpointError(
            f"{directory}: its architecture is {architecture}, which has no"
            f" classification"
            " head; fine-tune it first, for example with `diffmask-train finetune`"
        )
    # The library's own bars and notes say nothing that the checks below do not.
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    model, report = AutoModelForSequenceClassification.from_pretrained(
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
    labels = tuple(model.config.id2label[i] for i in range(model.config.num_labels))
    return Classifier(encoder=Encoder(model), tokenizer=tokenizer, labels=labels)


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
