"""What callers may know of a model: its tensors, how it is run, what it did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffmask_service.core.statistics import ModelStatistics, Total
from diffmask_service.core.values import ModelDescription, ModelIdentity
from diffmask_service.wire.inference import messages as pb
from diffmask_service.wire.inference.answers import Output
from diffmask_service.wire.inference.inputs import inputs_of
from diffmask_service.wire.inference.outputs import outputs_of
from diffmask_service.wire.inference.tensors import Datatype

# The protocol's registered name for ONNX models that ONNX Runtime runs.
PLATFORM = "onnx_onnxv1"
_BACKEND = "onnxruntime"
_TYPE_BY_DATATYPE: Mapping[Datatype, pb.DataType] = {
    Datatype.BOOL: pb.TYPE_BOOL,
    Datatype.INT32: pb.TYPE_INT32,
    Datatype.INT64: pb.TYPE_INT64,
    Datatype.FP32: pb.TYPE_FP32,
    Datatype.BYTES: pb.TYPE_STRING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How a model is run.

    Attributes:
        num_workers: Runs at the same time.
        is_on_gpu: Whether the graph runs on a GPU.
        max_texts: Most texts of a request.
        default_deadline_seconds: Time for a request that brings no deadline, seconds.
        priority_levels: Levels that a request may name, 1 the highest.
        default_priority: Level of a request that names none.
    """

    num_workers: int
    is_on_gpu: bool
    max_texts: int
    default_deadline_seconds: float
    priority_levels: int
    default_priority: int


def metadata_to_message(
    model: ModelDescription, versions: Sequence[str]
) -> pb.ModelMetadataResponse:
    """Write inputs and outputs of a model.

    Args:
        model: Which.
        versions: Those that answer.
    """
    tensor = pb.ModelMetadataResponse.TensorMetadata
    return pb.ModelMetadataResponse(
        name=model.identity.id,
        versions=versions,
        platform=PLATFORM,
        inputs=[
            tensor(name=each.name, datatype=each.datatype, shape=[-1] * each.num_axes)
            for each in inputs_of(model)
        ],
        outputs=[
            tensor(name=each.name, datatype=each.datatype, shape=_shape(each, model))
            for each in outputs_of(model)
        ],
    )


def config_to_message(
    model: ModelDescription, versions: Sequence[str], running: Running
) -> pb.ModelConfigResponse:
    """Write how a model is run.

    Args:
        model: Which.
        versions: Those that answer.
        running: How.
    """
    policy = pb.ModelQueuePolicy(
        timeout_action=pb.ModelQueuePolicy.REJECT,
        default_timeout_microseconds=round(running.default_deadline_seconds * 1e6),
        allow_timeout_override=True,
    )
    config = pb.ModelConfig(
        name=model.identity.id,
        platform=PLATFORM,
        backend=_BACKEND,
        version_policy=pb.ModelVersionPolicy(
            specific=pb.ModelVersionPolicy.Specific(versions=map(int, versions))
        ),
        input=[
            pb.ModelInput(
                name=each.name,
                data_type=_TYPE_BY_DATATYPE[each.datatype],
                dims=[-1] * each.num_axes,
                # Texts or tokens, whichever the caller has.
                optional=True,
            )
            for each in inputs_of(model)
        ],
        output=[
            pb.ModelOutput(
                name=each.name,
                data_type=_TYPE_BY_DATATYPE[each.datatype],
                dims=_shape(each, model),
            )
            for each in outputs_of(model)
        ],
        instance_group=[
            pb.ModelInstanceGroup(
                count=running.num_workers,
                kind=(
                    pb.ModelInstanceGroup.KIND_GPU
                    if running.is_on_gpu
                    else pb.ModelInstanceGroup.KIND_CPU
                ),
            )
        ],
        dynamic_batching=pb.ModelDynamicBatching(
            priority_levels=running.priority_levels,
            default_priority_level=running.default_priority,
            default_queue_policy=policy,
        ),
    )
    for name, value in _properties(model, running).items():
        config.parameters[name].string_value = value
    return pb.ModelConfigResponse(config=config)


def statistics_to_message(
    identity: ModelIdentity, statistics: ModelStatistics
) -> pb.ModelStatistics:
    """Write what a model did."""
    return pb.ModelStatistics(
        name=identity.id,
        version=identity.version,
        last_inference=round(statistics.last_answer_seconds * 1000),
        inference_count=statistics.num_texts,
        execution_count=statistics.num_runs,
        inference_stats=pb.InferStatistics(
            success=_total(statistics.answered),
            fail=_total(statistics.failed),
            queue=_total(statistics.queued),
            compute_input=_total(statistics.tokenized),
            compute_infer=_total(statistics.inferred),
            compute_output=_total(statistics.decoded),
        ),
        batch_stats=[
            pb.InferBatchStatistics(batch_size=size, compute_infer=_total(runs))
            for size, runs in sorted(statistics.runs_by_num_texts.items())
        ],
    )


def _total(total: Total) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=total.count, ns=round(total.seconds * 1e9))


def _shape(output: Output, model: ModelDescription) -> list[int]:
    def size(axis: str | int) -> int:
        if isinstance(axis, int):
            return axis
        return len(model.labels) if axis == "labels" else -1

    return [size(axis) for axis in output.axes]


def _properties(model: ModelDescription, running: Running) -> dict[str, str]:
    return {
        "task": model.task,
        "labels": ",".join(model.labels),
        "states": ",".join(model.states),
        "max_tokens": str(model.max_tokens),
        "max_texts": str(running.max_texts),
        "hard_mask_threshold": str(model.hard_mask_threshold),
        "digest": model.identity.digest,
        "precision": model.identity.precision,
        "manifest": model.manifest_json,
    }
