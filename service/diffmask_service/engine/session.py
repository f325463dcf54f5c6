"""A graph ready to run: texts in, raw outputs out, on a CPU or a GPU."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from diffmask_service.bundle import cut_graph
from diffmask_service.core.values import Outputs
from diffmask_service.engine.feeds import Feeds, Row, feed
from diffmask_service.engine.limits import Device
from diffmask_service.engine.runtime import (
    choose_device,
    import_runtime,
    open_graph,
    run_bound,
    runtime_errors,
)
from diffmask_service.errors import GraphError, InferenceError

_PREDICTION = ("logits",)


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
        device: Where it runs; `auto` takes a GPU where ONNX Runtime offers one.

    Attributes:
        device: Where it runs.

    Raises:
        StartError: ONNX Runtime is not installed, or does not offer the device.
        GraphError: ONNX Runtime cannot load the graph.
    """

    device: Literal["cpu", "cuda"]

    def __init__(
        self,
        graph: bytes,
        *,
        inputs: tuple[str, ...],
        predictions: tuple[str, ...] = _PREDICTION,
        name: str,
        device: Device = "auto",
    ) -> None:
        runtime = import_runtime()
        self._runtime = runtime
        self.device = choose_device(device, runtime.get_available_providers())
        self._errors = runtime_errors(runtime)
        self._inputs = inputs
        self._predictions = predictions
        try:
            self._explaining, self._predicting = (
                open_graph(runtime, content, device=self.device)
                for content in (graph, cut_graph(graph, predictions))
            )
        except self._errors as error:
            raise GraphError(
                f"{name}: ONNX Runtime {runtime.__version__} cannot load it ({error})"
            ) from error

    def run(self, rows: Sequence[Row], *, fetches: tuple[str, ...]) -> Outputs:
        """Run the graph once; texts of unequal length are padded to the longest.

        Args:
            rows: Texts, at least one. The gates, and any logits, of the padding come
                back with the rest; they mean nothing.
            fetches: What to compute, `logits` among it.

        Raises:
            InferenceError: The run failed or gave values that are not finite.
        """
        feeds = feed(rows, self._inputs)
        try:
            session = self._predicting if fetches == _PREDICTION else self._explaining
            names = [*self._predictions, *(f for f in fetches if f != "logits")]
            arrays = self._run(session, names, feeds)
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

    def _run(self, session: Any, names: list[str], feeds: Feeds) -> list[Any]:
        if self.device == "cpu":
            arrays: list[Any] = session.run(names, feeds)
            return arrays
        return run_bound(self._runtime, session, names, feeds, device=self.device)
