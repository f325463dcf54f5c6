"""A run of the graph: who does it, who is told of it, and what each text gets."""

from collections.abc import Sequence
from typing import Protocol

from diffmask_service.core.predictions import Float32Array
from diffmask_service.core.values import Outputs
from diffmask_service.engine.feeds import Row
from diffmask_service.errors import InferenceError


class Run(Protocol):
    """One run of the graph on the texts of a batch; called on a worker thread."""

    def __call__(self, rows: Sequence[Row], *, fetches: tuple[str, ...]) -> Outputs:
        """Return the outputs, in the order of the rows."""
        ...


class HealthListener(Protocol):
    """Told whether runs succeed."""

    def __call__(self, *, is_healthy: bool) -> None:
        """Take note."""
        ...


class RunCounter(Protocol):
    """What a batcher reports to telemetry, runs from the threads of its workers."""

    def expire(self, *, stage: str) -> None:
        """Count a text whose deadline passed in the queue, or in its run (infer)."""
        ...

    def count_run(
        self,
        *,
        num_texts: int,
        num_masked: int,
        num_tokens: int,
        num_padding: int,
        release: str,
    ) -> None:
        """Count one run of the graph."""
        ...


def failure_of(cause: Exception) -> InferenceError:
    """Return what one caller hears of a run that failed.

    Args:
        cause: What the run raised.
    """
    # Each caller gets an instance of its own: a traceback grows as it travels.
    error = InferenceError("the model failed on this request")
    error.__cause__ = cause
    return error


def pick(outputs: Outputs, place: int, *, num_tokens: int) -> Outputs:
    """Return a batch of one, without the padding that others of its run brought.

    Args:
        outputs: Of the run.
        place: Of the text in the run.
        num_tokens: Of the text.
    """
    here = slice(place, place + 1)

    def gates(values: Float32Array | None) -> Float32Array | None:
        return None if values is None else values[here, :, :num_tokens]

    logits = outputs.logits[here]
    return Outputs(
        logits=logits[:, :num_tokens] if logits.ndim > 2 else logits,
        input_gates=gates(outputs.input_gates),
        hidden_gates=gates(outputs.hidden_gates),
    )
