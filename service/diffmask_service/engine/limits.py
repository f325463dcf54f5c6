"""How much an engine takes on, in what order, and the checks against it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diffmask_service.core.values import ModelInput, TextInput, TokenInput
from diffmask_service.errors import InvalidInput, UnsupportedTask

# Of ordinary prose.
_INLINE_BYTES_PER_TOKEN = 4
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """Bounds on requests and on the work in progress.

    A request at level p counts as having come `(p - 1) * priority_step_seconds` after
    it did; the earliest runs first.

    Attributes:
        max_texts: Most texts of a request, >= 1.
        max_text_bytes: Longest text, bytes of UTF-8, >= 1; the same again for the
            second text of a pair.
        queue_tokens: Most tokens admitted and not yet answered, >= 1.
        default_deadline_seconds: Time that a request without a deadline gets, > 0.
        max_deadline_seconds: Most time that any request gets, however late its
            deadline, > 0.
        inline_tokens: A request of at most so many tokens, and of at most four times as
            many bytes, is tokenized and decoded on the event loop, >= 0.
        late_factor: A request is refused at the door when what waits in front of it is
            expected to take more than this share of the time that it has left, >= 0;
            0 refuses none.
        min_retry_seconds: Shortest wait advised to a refused request, > 0.
        max_retry_seconds: Longest wait advised, >= the shortest.
        priority_levels: Levels that a request may name, 1 the highest, >= 1.
        default_priority: Level of a request that names none, in [1, priority_levels].
        priority_step_seconds: Head start of a level over the next lower one, >= 0.
        device: Where the graph runs; `auto` takes a GPU where ONNX Runtime offers one.
        workers: Runs of the graph at the same time on a CPU, one core each, >= 1.
        worker_niceness: How many nice levels less urgent those runs are than everything
            else that the process does, in [0, 19]; Linux alone knows it of threads.
        max_batch_tokens: Most tokens of one run on a GPU, padding counted, >= 1.
    """

    max_texts: int = 32
    max_text_bytes: int = 16_384
    queue_tokens: int = 65_536
    default_deadline_seconds: float = 10.0
    max_deadline_seconds: float = 3600.0
    inline_tokens: int = 512
    late_factor: float = 0.75
    min_retry_seconds: float = 0.05
    max_retry_seconds: float = 5.0
    priority_levels: int = 3
    default_priority: int = 2
    priority_step_seconds: float = 1.0
    device: Device = "auto"
    workers: int = 1
    worker_niceness: int = 0
    max_batch_tokens: int = 16_384

    def is_small(self, num_tokens: int, *, num_bytes: int) -> bool:
        """Return whether the text work of a request is short enough for the event loop.

        Args:
            num_tokens: Most tokens that are answered.
            num_bytes: Of its texts: what is cut off is tokenized as well.
        """
        inline = self.inline_tokens
        return num_tokens <= inline and num_bytes <= _INLINE_BYTES_PER_TOKEN * inline

    def bound_retry(self, seconds: float) -> float:
        """Return a wait to advise to a refused request, within the bounds, seconds."""
        return min(max(seconds, self.min_retry_seconds), self.max_retry_seconds)


def resolve_priority(priority: int, limits: EngineLimits) -> int:
    """Return the level of a request, 1 for the highest.

    Args:
        priority: What it named; 0 stands for the default.
        limits: How many levels there are.

    Raises:
        InvalidInput: There is no such level.
    """
    if not 0 <= priority <= limits.priority_levels:
        raise InvalidInput(
            f"priority is {priority}; name 1 for the highest to"
            f" {limits.priority_levels} for the lowest, or 0 for the default"
        )
    return priority or limits.default_priority


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def most_tokens(text: ModelInput) -> int:
    """Return how many tokens a text can have, before anybody tokenized it.

    Args:
        text: Of which hardly one has more tokens than bytes.
    """
    if isinstance(text, TokenInput):
        return len(text.input_ids)
    return len(text.text.encode()) + len((text.text_pair or "").encode()) + 3


def check_inputs(
    inputs: Sequence[ModelInput],
    limits: EngineLimits,
    *,
    takes_pairs: bool,
) -> None:
    """Refuse what cannot be answered, before any work is done for it.

    Args:
        inputs: The texts of one request.
        limits: Bounds on them.
        takes_pairs: Whether the model reads pairs.

    Raises:
        InvalidInput: There is no text or too many, or one is empty, too large, not
            encodable, or lacks its pair.
        UnsupportedTask: A pair for a model of single texts.
    """
    if not inputs:
        raise InvalidInput("the request holds no texts; send at least one")
    if len(inputs) > limits.max_texts:
        raise InvalidInput(
            f"the request holds {len(inputs)} texts; send at most {limits.max_texts}"
        )
    for index, each in enumerate(inputs):
        where = f"inputs[{index}]"
        if isinstance(each, TokenInput):
            _check_tokens(each, where, takes_pairs=takes_pairs)
        else:
            _check_texts(each, where, limits, takes_pairs=takes_pairs)


def _check_tokens(tokens: TokenInput, where: str, *, takes_pairs: bool) -> None:
    kinds = tokens.token_type_ids
    if kinds is not None and not np.isin(kinds, (0, 1)).all():
        raise InvalidInput(f"{where}.token_type_ids holds other values than 0 and 1")
    if kinds is not None and kinds.any() and not takes_pairs:
        raise UnsupportedTask(
            f"{where} has tokens of a second text, but the model reads single texts;"
            " send token_type_ids of 0, or none"
        )
    if takes_pairs and (kinds is None or 1 not in kinds):
        raise InvalidInput(
            f"{where} has no token of a second text; the model was trained on pairs, or"
            " on questions and contexts: send token_type_ids with 1 for those tokens"
        )


def _check_texts(
    text: TextInput, where: str, limits: EngineLimits, *, takes_pairs: bool
) -> None:
    if text.text_pair is not None and not takes_pairs:
        raise UnsupportedTask(
            f"{where} has a text_pair, but the model reads single texts; leave it out"
        )
    if text.text_pair is None and takes_pairs:
        raise InvalidInput(
            f"{where} lacks a text_pair; the model was trained on pairs, or on"
            " questions with their context as text_pair"
        )
    _check_text(text.text, f"{where}.text", limits)
    if text.text_pair is not None:
        _check_text(text.text_pair, f"{where}.text_pair", limits)


def _check_text(text: str, where: str, limits: EngineLimits) -> None:
    if not text.strip():
        raise InvalidInput(f"{where} is empty; send at least one word")
    try:
        num_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{where} holds half of a surrogate pair at position {error.start}, which"
            " is not text; send valid Unicode"
        ) from error
    if num_bytes > limits.max_text_bytes:
        raise InvalidInput(
            f"{where} has {num_bytes} bytes; the server takes at most"
            f" {limits.max_text_bytes}. Split the text."
        )
