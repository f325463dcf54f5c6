"""What a record is, and what a label is in each task."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class WordTag:
    """The label of one word.

    Attributes:
        start: Where the word begins in its text, code points.
        index: Index into the label list.
    """

    start: int
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One right answer to a question.

    Attributes:
        text: The answer, as it stands in the context.
        start: Where it begins there, code points.
    """

    text: str
    start: int


# Index into the label list; all indices that hold; a value; the label of each word; the
# right answers, none for a question that its context does not answer. Which of them is
# the task's choice.
Label: TypeAlias = (
    int | float | frozenset[int] | tuple[WordTag, ...] | tuple[Answer, ...]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One text or text pair and its label.

    Attributes:
        text: The text, not empty; of a question and its context, the question.
        text_pair: The second text of a pair, or the context; or None.
        label: What a model should say of it, or None in unlabelled data.
    """

    text: str
    text_pair: str | None = None
    label: Label | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of a CSV, TSV or JSON lines file hold what.

    Attributes:
        text: Column of the text, the words or the question.
        text_pair: Column of the second text or the context; empty for single texts.
        label: Column of the label, of the words' tags or of the answers; empty for
            unlabelled data.
    """

    text: str = "text"
    text_pair: str = ""
    label: str = "label"

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that a file must have."""
        named = (self.text, self.text_pair, self.label)
        return tuple(name for name in named if name)
