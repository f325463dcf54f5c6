"""Records to token ids, with what their task needs to know of each token."""

from collections.abc import Sequence

from tokenizers import Encoding as Tokens
from transformers import PreTrainedTokenizerBase

from diffmask_training.batches import Encoding
from diffmask_training.errors import DataError
from diffmask_training.made_when_asked import MadeWhenAsked
from diffmask_training.records import Record
from diffmask_training.tasks import Task


def encode(
    records: Sequence[Record],
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
    *,
    task: Task,
) -> list[Encoding]:
    """Tokenise records, cutting what is longer than `max_tokens` tokens.

    Args:
        records: Texts or pairs.
        tokenizer: Of the model, a fast one.
        max_tokens: Longest text, tokens, special tokens counted.
        task: What the model predicts.

    Raises:
        DataError: A text has no second one though the task needs it, or the other way
            round, a question alone is longer than the limit, a text holds no token, or
            the task has no use for a record.
    """
    has_pairs = any(record.text_pair is not None for record in records)
    if task.pairs == "needed" and not all(record.text_pair for record in records):
        raise DataError(f"{task.name} needs a second text, the context, with each text")
    if task.pairs == "refused" and has_pairs:
        raise DataError(f"{task.name} takes single texts; leave --pair-column out")
    try:
        encoded = tokenizer(
            [record.text for record in records],
            [record.text_pair or "" for record in records] if has_pairs else None,
            truncation=task.truncation,
            max_length=max_tokens,
        )
    # The library raises bare `Exception` for what it cannot cut.
    except Exception as error:
        raise DataError(
            f"a text cannot be cut to {max_tokens} tokens ({error}); raise"
            " --max-train-tokens"
        ) from error
    return [
        encoding_of(record, tokens, task=task)
        for record, tokens in zip(records, encoded.encodings, strict=True)
    ]


def encode_each(
    records: Sequence[Record],
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
    *,
    task: Task,
) -> Sequence[Encoding]:
    """Tokenise records, or each when it is asked for where records are made so too.

    Args:
        records: Texts or pairs.
        tokenizer: Of the model, a fast one.
        max_tokens: Longest text, tokens, special tokens counted.
        task: What the model predicts.

    Raises:
        DataError: As for `encode`.
    """

    def encoded(record: Record) -> Encoding:
        (encoding,) = encode([record], tokenizer, max_tokens, task=task)
        return encoding

    if isinstance(records, MadeWhenAsked):
        return MadeWhenAsked(records, encoded)
    return encode(records, tokenizer, max_tokens, task=task)


def encoding_of(record: Record, tokens: Tokens, *, task: Task) -> Encoding:
    """Return one tokenised record.

    Args:
        record: The record.
        tokens: What the tokenizer made of it.
        task: What the model predicts.

    Raises:
        DataError: The task has no use for the record, or one of its texts holds no
            token.
    """
    task.check(record)
    _refuse_empty(record, tokens)
    source = record.text if record.text_pair is None else record.text_pair
    return Encoding(
        input_ids=tuple(tokens.ids),
        token_type_ids=tuple(tokens.type_ids),
        label=record.label,
        scored=task.scored(tokens, source),
        offsets=tuple(tokens.offsets),
        source=source,
    )


def _refuse_empty(record: Record, tokens: Tokens) -> None:
    # Characters without a width, for one, are a text and give no token.
    for number, text in enumerate((record.text, record.text_pair)):
        if text is not None and number not in tokens.sequence_ids:
            raise DataError(
                f"the tokenizer finds no token in the text {text!r}, or all of it was"
                " cut; leave it out, or raise --max-train-tokens"
            )
