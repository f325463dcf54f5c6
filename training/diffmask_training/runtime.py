"""A graph under ONNX Runtime, one text at a time, as the service runs it on a CPU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from diffmask_service.bundle import DISABLED_OPTIMIZERS_BY_DEVICE
from diffmask_training.batches import Encoding

_GATES = ("input_gates", "hidden_gates")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphOutputs:
    """What the graph gives for one text.

    Attributes:
        logits: `[labels]` float32, or `[tokens, labels]`; of start and end logits, both
            along the last axis.
        input_gates: `[layers, tokens]` float32 in [0, 1].
        hidden_gates: `[layers, tokens]` float32 in [0, 1].
    """

    logits: NDArray[np.float32]
    input_gates: NDArray[np.float32]
    hidden_gates: NDArray[np.float32]


class GraphRuntime:
    """An ONNX graph that is ready to run.

    Attributes:
        states: Names of the states, the `layers` axis.
        threshold: A token is kept when its gate is at least this.
    """

    def __init__(
        self, content: bytes, *, states: Sequence[str], threshold: float
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            content,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=DISABLED_OPTIMIZERS_BY_DEVICE["cpu"],
        )
        self._inputs = [value.name for value in self._session.get_inputs()]
        names = [value.name for value in self._session.get_outputs()]
        # The start stands before the end in every graph that has them.
        self._predictions = [name for name in names if name not in _GATES]
        self.states = tuple(states)
        self.threshold = threshold

    def run(
        self, encoding: Encoding, keep: NDArray[np.bool_] | None = None
    ) -> GraphOutputs:
        """Run one text unpadded.

        Args:
            encoding: The text.
            keep: `[tokens]` bool. Tokens whose word embedding is kept; all when None.
        """
        input_ids = np.array([encoding.input_ids], dtype=np.int64)
        if keep is None:
            keep = np.ones(input_ids.shape[1], dtype=np.bool_)
        logits, input_gates, hidden_gates = self.run_batch(
            {
                "input_ids": input_ids,
                "attention_mask": np.ones_like(input_ids),
                "token_type_ids": np.array([encoding.token_type_ids], dtype=np.int64),
            },
            keep[None].astype(np.float32),
        )
        return GraphOutputs(
            logits=logits[0], input_gates=input_gates[0], hidden_gates=hidden_gates[0]
        )

    def run_batch(
        self, inputs: Mapping[str, NDArray[np.int64]], keep: NDArray[np.float32]
    ) -> list[NDArray[np.float32]]:
        """Run a padded batch.

        Args:
            inputs: Model inputs, each `[batch, tokens]`; what the graph does not take
                is passed over.
            keep: `[batch, tokens]` float32 in [0, 1].

        Returns:
            Logits `[batch, labels]` or `[batch, tokens, labels]`, input gates and
            hidden gates, both `[batch, layers, tokens]`; float32.
        """
        feeds: dict[str, NDArray[Any]] = {**inputs, "keep": keep}
        outputs: list[NDArray[np.float32]] = self._session.run(
            [*self._predictions, *_GATES], {name: feeds[name] for name in self._inputs}
        )
        *predictions, input_gates, hidden_gates = outputs
        return [joined(predictions), input_gates, hidden_gates]


def joined(predictions: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the outputs of a graph that make its logits as one array.

    Args:
        predictions: The logits, or those of start and end, which are put along a last
            axis.
    """
    if len(predictions) == 1:
        return predictions[0]
    return np.stack(predictions, axis=-1)
