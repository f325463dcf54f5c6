"""Adapter of ONNX Runtime: texts in, raw outputs out, on a CPU or a GPU."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal

import numpy as np

from diffmask_service.bundle import cut_graph
from diffmask_service.core.values import Outputs
from diffmask_service.engine.feeds import Feeds, Row, feed
from diffmask_service.engine.limits import Device
from diffmask_service.errors import GraphError, InferenceError, StartError

_PREDICTION = ("logits",)
_PROVIDER_BY_DEVICE = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
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
        runtime = _import_runtime()
        self._runtime = runtime
        self.device = choose_device(device, runtime.get_available_providers())
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
                    content, options, providers=[_PROVIDER_BY_DEVICE[self.device]]
                )
                for content in (graph, cut_graph(graph, predictions))
            )
        except self._errors as error:
            raise GraphError(
                f"{name}: ONNX Runtime {runtime.__version__} cannot load it ({error})"
            ) from error
        # ONNX Runtime falls back to the CPU with no more than a line in its log.
        provider = self._explaining.get_providers()[0]
        if provider != _PROVIDER_BY_DEVICE[self.device]:
            raise StartError(
                f"--device: ONNX Runtime could not use {self.device} and took"
                f" {provider}; check the driver and the CUDA libraries, or take cpu"
            )

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


def choose_device(wanted: Device, providers: Sequence[str]) -> Literal["cpu", "cuda"]:
    """Return where to run a graph.

    Args:
        wanted: What was asked for.
        providers: What ONNX Runtime offers here.

    Raises:
        StartError: It does not offer the device.
    """
    if wanted == "auto":
        return "cuda" if _PROVIDER_BY_DEVICE["cuda"] in providers else "cpu"
    if _PROVIDER_BY_DEVICE[wanted] not in providers:
        raise StartError(
            f"--device: ONNX Runtime offers no {wanted} here, only"
            f" {', '.join(providers)}; install diffmask-service[cuda] in place of"
            " diffmask-service[cpu] on a machine with an NVIDIA GPU, or take auto"
        )
    return wanted


def run_bound(
    runtime: Any, session: Any, names: Sequence[str], feeds: Feeds, *, device: str
) -> list[Any]:
    """Run a graph whose inputs and outputs stay on the device until the end.

    Outputs come back in one go after the run, so that a batch waits for the device
    once, not once an output.

    Args:
        runtime: The `onnxruntime` module.
        session: The graph.
        names: Outputs to compute.
        feeds: Inputs by name.
        device: `cpu` or `cuda`.

    Returns:
        The outputs, in the order of the names.
    """
    binding = session.io_binding()
    for name, values in feeds.items():
        value = runtime.OrtValue.ortvalue_from_numpy(values, device, 0)
        binding.bind_ortvalue_input(name, value)
    for name in names:
        binding.bind_output(name, device, 0)
    session.run_with_iobinding(binding)
    arrays: list[Any] = binding.copy_outputs_to_cpu()
    return arrays


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
