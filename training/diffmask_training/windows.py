"""Long contexts in windows that overlap, each window a text of its own.

What is served is cut or refused, since one explanation is of one run; windows are for
texts that a model or a probe learns from.
"""

import dataclasses
from array import array
from collections.abc import Sequence

from tokenizers import Encoding as Tokens
from transformers import PreTrainedTokenizerBase

from diffmask_training.batches import Encoding
from diffmask_training.encoding import encoding_of
from diffmask_training.errors import ConfigError, DataError
from diffmask_training.made_when_asked import MadeWhenAsked
from diffmask_training.records import Answer, Record
from diffmask_training.tasks import Task


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How contexts are parted.

    Attributes:
        tokenizer: Of the model, a fast one.
        task: What it predicts: answers to questions.
        max_tokens: Longest window, tokens, question and special tokens counted.
        overlap: Tokens of the context that a window shares with the next.
    """

    tokenizer: PreTrainedTokenizerBase
    task: Task
    max_tokens: int
    overlap: int

    def __post_init__(self) -> None:
        """Refuse tasks that have no context.

        Raises:
            ConfigError: This is one.
        """
        if self.task.pairs != "needed":
            raise ConfigError(
                f"window_overlap is for contexts, which {self.task.name} does not have;"
                " leave it out"
            )

    def of_all(self, records: Sequence[Record]) -> Sequence[Encoding]:
        """Return the windows of every record, in order.

        Where records are made when they are asked for, so are windows; the texts are
        then tokenised once to count them.

        Raises:
            DataError: A question leaves no room for a context, or for the overlap.
        """
        if not isinstance(records, MadeWhenAsked):
            return [window for record in records for window in self.of(record)]
        places = array("q")  # record and window, by turns
        for index, record in enumerate(records):
            for number in range(len(self.of(record))):
                places.extend((index, number))

        def window(number: int) -> Encoding:
            index, position = places[2 * number : 2 * number + 2]
            return self.of(records[index])[position]

        return MadeWhenAsked(range(len(places) // 2), window)

    def of(self, record: Record) -> list[Encoding]:
        """Return the windows of one record.

        A window without a whole answer is one of a question without an answer, where
        such questions may be; otherwise it is left out, since a model that must answer
        says nothing of it.

        Raises:
            DataError: The question leaves no room for a context, or for the overlap.
        """
        question = self.tokenizer(record.text, add_special_tokens=False).input_ids
        taken = len(question) + self.tokenizer.num_special_tokens_to_add(pair=True)
        # The library panics at an overlap that leaves no step.
        if self.max_tokens - taken <= self.overlap:
            raise DataError(
                f"the question {record.text!r} takes {taken} of {self.max_tokens}"
                f" tokens and leaves no room for windows that share {self.overlap};"
                " raise --max-train-tokens, or lower --window-overlap"
            )
        tokenized = self.tokenizer(
            record.text,
            record.text_pair,
            truncation=self.task.truncation,
            max_length=self.max_tokens,
            stride=self.overlap,
            return_overflowing_tokens=True,
        )
        windows = (self._window(record, tokens) for tokens in tokenized.encodings)
        return [window for window in windows if window is not None]

    def _window(self, record: Record, tokens: Tokens) -> Encoding | None:
        if not record.label:
            return encoding_of(record, tokens, task=self.task)
        scored = self.task.scored(tokens, record.text_pair or "")
        held = _answers_between(
            record, tokens.offsets[scored[0]][0], tokens.offsets[scored[-1]][1]
        )
        if not held and not self.task.may_have_no_answer:
            return None
        return encoding_of(
            dataclasses.replace(record, label=held), tokens, task=self.task
        )


def _answers_between(record: Record, start: int, end: int) -> tuple[Answer, ...]:
    answers = record.label if isinstance(record.label, tuple) else ()
    return tuple(
        answer
        for answer in answers
        if isinstance(answer, Answer)
        and start <= answer.start
        and answer.start + len(answer.text) <= end
    )
