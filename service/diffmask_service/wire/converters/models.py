"""Models and their identities."""

from diffmask_service.core.values import ModelDescription, ModelIdentity, Task
from diffmask_service.errors import ServerError
from diffmask_service.wire.converters.requests import (
    gate_kind_from_proto,
    gate_kind_to_proto,
)
from diffmask_service.wire.pb import explain_pb2 as pb


def model_to_proto(description: ModelDescription) -> pb.Model:
    """Write the description of a served model."""
    return pb.Model(
        identity=identity_to_proto(description.identity),
        task=description.task.value,
        labels=description.labels,
        max_tokens=description.max_tokens,
        states=description.states,
        gates=[gate_kind_to_proto(kind) for kind in description.gates],
        hard_mask_threshold=description.hard_mask_threshold,
        takes_pairs=description.takes_pairs,
        is_ready=description.is_ready,
        manifest_json=description.manifest_json,
    )


def model_from_proto(message: pb.Model) -> ModelDescription:
    """Parse the description of a served model.

    A kind of gate that this release does not know is left out: a later server may offer
    more than this client can ask for.

    Raises:
        ServerError: The model predicts something that this release does not know.
    """
    try:
        task = Task(message.task)
    except ValueError as error:
        raise ServerError(
            f"model {message.identity.id!r} has the task {message.task!r}, which this"
            f" release does not know; upgrade diffmask-service",
            code="UNIMPLEMENTED",
        ) from error
    kinds = (gate_kind_from_proto(number) for number in message.gates)
    return ModelDescription(
        identity=identity_from_proto(message.identity),
        task=task,
        labels=tuple(message.labels),
        max_tokens=message.max_tokens,
        states=tuple(message.states),
        gates=tuple(kind for kind in kinds if kind is not None),
        hard_mask_threshold=message.hard_mask_threshold,
        takes_pairs=message.takes_pairs,
        is_ready=message.is_ready,
        manifest_json=message.manifest_json,
    )


def identity_to_proto(identity: ModelIdentity) -> pb.ModelIdentity:
    """Write the identity of a model."""
    return pb.ModelIdentity(
        id=identity.id,
        version=identity.version,
        digest=identity.digest,
        precision=identity.precision,
    )


def identity_from_proto(message: pb.ModelIdentity) -> ModelIdentity:
    """Parse the identity of a model."""
    return ModelIdentity(
        id=message.id,
        version=message.version,
        digest=message.digest,
        precision=message.precision,
    )
