"""Adapter of ONNX Runtime: texts of one length in, raw outputs out."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from diffmask_service.bundle import cut_graph
from diffmask_service.core.values import Float32Array, Int64Array, Outputs
from diffmask_service.errors import GraphError, InferenceError, StartError

_PREDICTION = ("logits",)
# ONNX Runtime's exceptions share no base of their own.
_RUNTIME_ERRORS = (
    "EPFail",
    "EngineError",
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "NoModel",
    "NotImplemented",
    "RuntimeException",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One text as the graph reads it.

    Attributes:
        input_ids: `[tokens]` int64. Vocabulary indices.
        token_type_ids: `[tokens]` int64. Segment indices.
        keep: `[tokens]` float32, 1 keeps a token's embedding and 0 replaces it by the
            baseline; None keeps all.
    """

    input_ids: Int64Array
    token_type_ids: Int64Array
    keep: Float32Array | None = None


class Session:
    """A graph, ready to run; safe to call from several threads.

    Calls for the logits alone go to a second session on the graph cut there. ONNX
    Runtime's `only_execute_path_to_fetches` would need no second one, but inference
    builds ignore it: 1.31.1 ran all 35 products of a graph when 18 lead to the logits.
    The price is the classifier's weights in memory twice.

    Args:
        graph: The verified bytes of the graph.
        inputs: Names of its inputs.
        predictions: Names of its outputs that make the logits; several are stacked
            along a last axis, in this order.
        name: Its file name, for error messages.

    Raises:
        StartError: ONNX Runtime is not installed.
        GraphError: ONNX Runtime cannot load the graph.
    """

    def __init__(
        self,
        graph: bytes,
        *,
        inputs: tuple[str, ...],
        predictions: tuple[str, ...] = _PREDICTION,
        name: str,
    ) -> None:
        runtime = _import_runtime()
        self._errors = _runtime_errors(runtime)
        self._inputs = inputs
        self._predictions = predictions
        options = runtime.SessionOptions()
        # Concurrency comes from several callers, one core each; threads within a run
        # would fight over the same cores, and spinning would starve the event loop.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._explaining, self._predicting = (
                runtime.InferenceSession(
                    content, options, providers=["CPUExecutionProvider"]
                )
                for content in (graph, cut_graph(graph, predictions))
            )
        except self._errors as error:
            raise GraphError(
                f"{name}: ONNX Runtime {runtime.__version__} cannot load it ({error})"
            ) from error

    def run(self, rows: Sequence[Row], *, fetches: tuple[str, ...]) -> Outputs:
        """Run the graph once, unpadded.

        Args:
            rows: Texts of exactly equal length, at least one.
            fetches: What to compute, `logits` among it.

        Raises:
            InferenceError: The run failed or gave values that are not finite.
        """
        feeds = self._feeds(rows)
        try:
            session = self._predicting if fetches == _PREDICTION else self._explaining
            names = [*self._predictions, *(f for f in fetches if f != "logits")]
            arrays = session.run(names, feeds)
        except self._errors as error:
            raise InferenceError("the graph failed to run") from error
        outputs = dict(zip(names, arrays, strict=True))
        for key, values in outputs.items():
            if not np.isfinite(values).all():
                raise InferenceError(f"the graph gave {key} that are not finite")
        logits = [outputs[name] for name in self._predictions]
        return Outputs(
            logits=logits[0] if len(logits) == 1 else np.stack(logits, axis=-1),
            input_gates=outputs.get("input_gates"),
            hidden_gates=outputs.get("hidden_gates"),
        )

    def _feeds(self, rows: Sequence[Row]) -> dict[str, Any]:
        input_ids = np.stack([row.input_ids for row in rows])  # [batch, tokens]
        every_token = np.ones(input_ids.shape, dtype=np.float32)
        feeds = {
            "input_ids": input_ids,
            "attention_mask": np.ones_like(input_ids),
            "token_type_ids": np.stack([row.token_type_ids for row in rows]),
            "keep": np.stack(
                [
                    ones if row.keep is None else row.keep
                    for row, ones in zip(rows, every_token, strict=True)
                ]
            ),
        }
        return {name: feeds[name] for name in self._inputs}


def _import_runtime() -> Any:
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        raise StartError(
            "ONNX Runtime is not installed; install diffmask-service[cpu], or"
            " diffmask-service[cuda] on a machine with an NVIDIA GPU"
        ) from error


def _runtime_errors(runtime: Any) -> tuple[type[Exception], ...]:
    module = runtime.capi.onnxruntime_pybind11_state
    found = (getattr(module, name, None) for name in _RUNTIME_ERRORS)
    return (*(error for error in found if error is not None), RuntimeError, ValueError)
