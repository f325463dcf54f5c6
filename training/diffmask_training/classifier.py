"""A fine-tuned model: loaded from safetensors only, and with the head it needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from diffmask_training.batches import Encoding
from diffmask_training.encoder import Encoder
from diffmask_training.encoding import encode_each
from diffmask_training.errors import CheckpointError
from diffmask_training.pretrained import (
    HEADS,
    read_model,
    read_settings,
    read_tokenizer,
    weights_digest,
)
from diffmask_training.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """A frozen fine-tuned model ready to be probed, whatever it predicts.

    Attributes:
        encoder: The model behind its adapter.
        tokenizer: Its tokenizer, a fast one.
        labels: Label names in index order; none where a span is predicted.
        weights: Short digest of the weights that were read.
    """

    encoder: Encoder
    tokenizer: PreTrainedTokenizerBase
    labels: tuple[str, ...]
    weights: str

    def limit(self, max_tokens: int) -> int:
        """Return a limit on texts, or the model's own where that is shorter, tokens."""
        return min(max_tokens, self.encoder.max_tokens)

    def encode(self, records: Sequence[Record], max_tokens: int) -> Sequence[Encoding]:
        """Tokenise records, or each when it is asked for where records are made so too.

        Args:
            records: Texts or pairs.
            max_tokens: What is longer is cut to this, or to what the model reads,
                tokens, special tokens counted.

        Raises:
            DataError: As for `encoding.encode`.
        """
        longest = self.limit(max_tokens)
        return encode_each(records, self.tokenizer, longest, task=self.encoder.task)


def load_classifier(
    directory: Path, *, no_answer_threshold: float | None = None
) -> Classifier:
    """Read a checkpoint directory as Hugging Face writes it.

    Args:
        directory: Holds `config.json`, `model.safetensors` and the tokenizer.
        no_answer_threshold: What no answer to a question must score over the best one,
            logits; None where every question has one, and for other tasks.

    Raises:
        CheckpointError: A part is missing, damaged or does not fit the others, the
            model has none of the supported heads, or its type is not supported.
    """
    settings = read_settings(directory)
    architecture = str(next(iter(settings.get("architectures") or []), "none"))
    head = next((head for head in HEADS if architecture.endswith(head)), None)
    if head is None:
        raise CheckpointError(
            f"{directory}: its architecture is {architecture}, which has no head for"
            " sequence classification, token classification or question answering;"
            " fine-tune it first, for example with `diffmask-train finetune`"
        )
    model = read_model(directory, HEADS[head])
    tokenizer = read_tokenizer(directory, model)
    try:
        encoder = Encoder(model)
    except CheckpointError as error:
        raise CheckpointError(f"{directory}: {error}") from error
    encoder.task = encoder.task.with_no_answer(no_answer_threshold)
    return Classifier(
        encoder=encoder,
        tokenizer=tokenizer,
        labels=encoder.task.labels(model.config),
        weights=weights_digest(directory),
    )
