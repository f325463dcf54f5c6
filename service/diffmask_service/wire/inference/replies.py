"""ModelInfer replies: an engine's answer as the outputs that were asked for."""

import numpy as np

from diffmask_service.core.values import (
    Explanation,
    Granularity,
    ModelDescription,
    Reply,
)
from diffmask_service.wire.inference import messages as pb
from diffmask_service.wire.inference.answers import Answers
from diffmask_service.wire.inference.axes import Axis, padded
from diffmask_service.wire.inference.explanations import units_of
from diffmask_service.wire.inference.requests import InferCall, Wanted
from diffmask_service.wire.inference.tensors import (
    Array,
    Datatype,
    Tensor,
    bytes_array,
    pack,
    write_contents,
)


def write_reply(
    reply: Reply, call: InferCall, model: ModelDescription
) -> pb.ModelInferResponse:
    """Write a reply.

    Args:
        reply: What the engine answered.
        call: What it was asked.
        model: Whom.
    """
    answers = _answers(reply, call, model)
    tensors = [_tensor(each, answers) for each in call.outputs]
    message = pb.ModelInferResponse(
        model_name=reply.model.id,
        model_version=reply.model.version,
        id=call.id or reply.request_id,
        outputs=[
            pb.ModelInferResponse.InferOutputTensor(
                name=tensor.name,
                datatype=tensor.datatype,
                shape=tensor.values.shape,
                contents=None if call.is_raw else write_contents(tensor),
            )
            for tensor in tensors
        ],
        raw_output_contents=map(pack, tensors) if call.is_raw else (),
    )
    _write_parameters(message, reply)
    return message


def failure_to_message(
    message: str,
    *,
    status: str,
    request_id: str,
    given_id: str,
    retry_after_seconds: float | None,
) -> pb.ModelStreamInferResponse:
    """Write what a stream says of a request that was not answered.

    Args:
        message: What went wrong.
        status: Name of the gRPC status.
        request_id: Identity of the request in the log.
        given_id: What its caller called it; may be empty.
        retry_after_seconds: When trying again may work, seconds; None when it is no
            question of time.
    """
    response = pb.ModelInferResponse(id=given_id or request_id)
    response.parameters["request_id"].string_param = request_id
    response.parameters["status"].string_param = status
    if retry_after_seconds is not None:
        milliseconds = round(retry_after_seconds * 1000)
        response.parameters["retry_after_ms"].int64_param = milliseconds
    return pb.ModelStreamInferResponse(error_message=message, infer_response=response)


def _answers(reply: Reply, call: InferCall, model: ModelDescription) -> Answers:
    explanations = reply.explanations
    tokens = call.tokens or padded([each.num_tokens for each in explanations])
    return Answers(
        explanations=explanations,
        labels=model.labels,
        tokens=tokens,
        units=_units_axis(explanations, call, tokens),
        has_offsets=call.tokens is None,
    )


def _units_axis(
    explanations: tuple[Explanation, ...], call: InferCall, tokens: Axis
) -> Axis:
    options = call.options
    if options.top_k is None and options.granularity is Granularity.TOKENS:
        return tokens
    return padded([len(units_of(each).texts) for each in explanations])


def _tensor(wanted: Wanted, answers: Answers) -> Tensor:
    output = wanted.output
    values = output.make(answers)
    if wanted.num_classes is None:
        return Tensor(name=output.name, datatype=output.datatype, values=values)
    return Tensor(
        name=output.name,
        datatype=Datatype.BYTES,
        values=_classes(values, answers.labels, num_classes=wanted.num_classes),
    )


def _classes(values: Array, labels: tuple[str, ...], *, num_classes: int) -> Array:
    # `[batch, labels]` to the labels of highest value, of equal ones the first.
    order = np.argsort(-values, axis=-1, kind="stable")[:, :num_classes]
    return np.array(
        [
            bytes_array([f"{row[i]:f}:{i}:{labels[i]}".encode() for i in best])
            for row, best in zip(values, order, strict=True)
        ]
    )


def _write_parameters(message: pb.ModelInferResponse, reply: Reply) -> None:
    # Floats are left out: KServe's messages do not know them.
    texts = {
        "request_id": reply.request_id,
        "digest": reply.model.digest,
        "precision": reply.model.precision,
        "states": ",".join(reply.states),
    }
    timings = reply.timings
    numbers = {
        "num_tokens": sum(each.num_tokens for each in reply.explanations),
        "num_truncated": sum(each.is_truncated for each in reply.explanations),
        "tokenize_ns": round(timings.tokenize_seconds * 1e9),
        "queue_ns": round(timings.queue_seconds * 1e9),
        "infer_ns": round(timings.infer_seconds * 1e9),
        "decode_ns": round(timings.decode_seconds * 1e9),
    }
    for name, text in texts.items():
        message.parameters[name].string_param = text
    for name, number in numbers.items():
        message.parameters[name].int64_param = number
