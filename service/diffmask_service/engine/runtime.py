"""Adapter of ONNX Runtime: where it runs a graph, and with which options."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal

from diffmask_service.bundle import DISABLED_OPTIMIZERS_BY_DEVICE
from diffmask_service.engine.feeds import Feeds
from diffmask_service.engine.limits import Device
from diffmask_service.errors import StartError

_PROVIDER_BY_DEVICE = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_ERRORS = (
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


def open_graph(runtime: Any, graph: bytes, *, device: Literal["cpu", "cuda"]) -> Any:
    """Return an `InferenceSession` for a graph.

    Args:
        runtime: The `onnxruntime` module.
        graph: The bytes of the graph.
        device: Where it is to run.

    Raises:
        StartError: ONNX Runtime could not use the device after all.
        Exception: ONNX Runtime cannot load the graph; one of `runtime_errors`.
    """
    options = runtime.SessionOptions()
    # Concurrency comes from several callers, one core each; threads within a run
    # would fight over the same cores, and spinning would starve the event loop.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    wanted = _PROVIDER_BY_DEVICE[device]
    session = runtime.InferenceSession(
        graph,
        options,
        providers=[wanted],
        disabled_optimizers=DISABLED_OPTIMIZERS_BY_DEVICE[device],
    )
    # ONNX Runtime falls back to the CPU with no more than a line in its log.
    provider = session.get_providers()[0]
    if provider != wanted:
        raise StartError(
            f"--device: ONNX Runtime could not use {device} and took {provider};"
            " check the driver and the CUDA libraries, or take cpu"
        )
    return session


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


def import_runtime() -> Any:
    """Return the `onnxruntime` module.

    Raises:
        StartError: It is not installed.
    """
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        raise StartError(
            "ONNX Runtime is not installed; install diffmask-service[cpu], or"
            " diffmask-service[cuda] on a machine with an NVIDIA GPU"
        ) from error


def runtime_errors(runtime: Any) -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises; its exceptions share no base of their own."""
    module = runtime.capi.onnxruntime_pybind11_state
    found = (getattr(module, name, None) for name in _ERRORS)
    return (*(error for error in found if error is not None), RuntimeError, ValueError)
