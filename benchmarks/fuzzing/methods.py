"""The methods that are attacked, requests that each takes, and what streams answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import grpc
import numpy as np
from grpc_health.v1 import health_pb2

from benchmarks.traffic.targets import EXPLAIN
from diffmask_service.wire.inference import messages as inference_pb
from diffmask_service.wire.inference.tensors import (
    Datatype,
    Tensor,
    bytes_array,
    pack,
    write_contents,
)
from diffmask_service.wire.pb import explain_pb2 as pb

_INFERENCE = "/inference.GRPCInferenceService"
_NAME_BY_NUMBER = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method to attack.

    Attributes:
        path: Its full name.
        seeds: Requests that it takes, to be spoilt.
        read_status: For one that takes a stream of requests and answers each: from an
            answer to the name of its status. None for one request and one answer.
    """

    path: str
    seeds: Sequence[bytes]
    read_status: Callable[[bytes], str] | None = None


def read_explain_status(answer: bytes) -> str:
    """Return how one request of an ExplainStream ended."""
    message = pb.ExplainStreamResponse.FromString(answer)
    return _NAME_BY_NUMBER[message.failure.code]


def read_infer_status(answer: bytes) -> str:
    """Return how one request of a ModelStreamInfer ended."""
    message = inference_pb.ModelStreamInferResponse.FromString(answer)
    if not message.error_message:
        return "OK"
    return message.infer_response.parameters["status"].string_param


def write_infer(
    *tensors: Tensor,
    is_raw: bool = False,
    outputs: Sequence[str] = (),
    parameters: Mapping[str, bool | int | str] | None = None,
) -> bytes:
    """Return a ModelInferRequest.

    Args:
        tensors: Its inputs.
        is_raw: Whether their values go as raw bytes.
        outputs: Names of those that are wanted; none for the usual ones.
        parameters: Values by name.
    """
    request = inference_pb.ModelInferRequest(
        id="fuzz",
        inputs=[
            inference_pb.ModelInferRequest.InferInputTensor(
                name=tensor.name,
                datatype=tensor.datatype,
                shape=tensor.values.shape,
                contents=None if is_raw else write_contents(tensor),
            )
            for tensor in tensors
        ],
        outputs=[
            inference_pb.ModelInferRequest.InferRequestedOutputTensor(name=name)
            for name in outputs
        ],
        raw_input_contents=map(pack, tensors) if is_raw else (),
    )
    for name, value in (parameters or {}).items():
        # A bool is an int: it must be asked first.
        match value:
            case bool():
                request.parameters[name].bool_param = value
            case int():
                request.parameters[name].int64_param = value
            case str():
                request.parameters[name].string_param = value
    return request.SerializeToString()


def text_tensor(texts: Sequence[bytes]) -> Tensor:
    """Return a tensor of texts, which need be none."""
    return Tensor(name="text", datatype=Datatype.BYTES, values=bytes_array(texts))


def _explain_seeds() -> tuple[bytes, ...]:
    with_everything = pb.ExplainOptions(
        gates=[pb.GATE_KIND_INPUT],
        states=["embeddings"],
        granularity=pb.GRANULARITY_WORDS,
        top_k=2,
        verify=pb.VerifyOptions(states=["embeddings"]),
    )
    return (
        EXPLAIN.write(["a funny movie"], "predict"),
        EXPLAIN.write(["good", "not bad , never dull"], "explain"),
        EXPLAIN.write(["a , b"], "verify"),
        pb.ExplainRequest(
            inputs=[pb.TextInput(text="good")], options=with_everything
        ).SerializeToString(),
        pb.ExplainRequest(
            inputs=[pb.TextInput(text="good", text_pair="bad")]
        ).SerializeToString(),
    )


def _infer_seeds() -> tuple[bytes, ...]:
    texts = text_tensor([b"good", b"a funny movie"])
    ids = Tensor(
        name="input_ids",
        datatype=Datatype.INT64,
        values=np.array([[2, 5, 3], [5, 3, 0]], dtype=np.int64),
    )
    mask = Tensor(
        name="attention_mask",
        datatype=Datatype.INT64,
        values=np.array([[1, 1, 1], [1, 1, 0]], dtype=np.int64),
    )
    return (
        write_infer(texts, outputs=["logits"]),
        write_infer(texts, is_raw=True, outputs=["logits", "input_gates"]),
        write_infer(
            text_tensor([b"good"]),
            is_raw=True,
            parameters={"granularity": "words", "top_k": 1, "verify": True},
        ),
        write_infer(ids, mask, is_raw=True),
        write_infer(ids, mask, parameters={"truncate": True, "priority": 1}),
    )


def _explain_stream_seeds() -> tuple[bytes, ...]:
    return tuple(
        pb.ExplainStreamRequest(
            id="fuzz",
            request=pb.ExplainRequest.FromString(seed),
            timeout_seconds=60.0,
        ).SerializeToString()
        for seed in _explain_seeds()
    )


EXPLAIN_METHOD = Method(path=EXPLAIN.path, seeds=_explain_seeds())
INFER_METHOD = Method(path=f"{_INFERENCE}/ModelInfer", seeds=_infer_seeds())
METHODS = (
    EXPLAIN_METHOD,
    INFER_METHOD,
    Method(
        path="/diffmask.v1.Explainer/ExplainStream",
        seeds=_explain_stream_seeds(),
        read_status=read_explain_status,
    ),
    Method(
        path=f"{_INFERENCE}/ModelStreamInfer",
        seeds=_infer_seeds(),
        read_status=read_infer_status,
    ),
    Method(
        path="/diffmask.v1.Explainer/GetModel",
        seeds=(pb.GetModelRequest(model="a", version="1").SerializeToString(),),
    ),
    Method(
        path="/diffmask.v1.Explainer/ListModels",
        seeds=(pb.ListModelsRequest().SerializeToString(),),
    ),
    Method(
        path="/grpc.health.v1.Health/Check",
        seeds=(health_pb2.HealthCheckRequest(service="readiness").SerializeToString(),),
    ),
    *(
        Method(path=f"{_INFERENCE}/{name}", seeds=(request.SerializeToString(),))
        for name, request in (
            ("ModelConfig", inference_pb.ModelConfigRequest(name="a", version="1")),
            ("ModelMetadata", inference_pb.ModelMetadataRequest(name="a")),
            ("ModelReady", inference_pb.ModelReadyRequest(name="a", version="1")),
            ("ModelStatistics", inference_pb.ModelStatisticsRequest(name="a")),
            ("RepositoryIndex", inference_pb.RepositoryIndexRequest(ready=True)),
            (
                "RepositoryModelLoad",
                inference_pb.RepositoryModelLoadRequest(model_name="a"),
            ),
        )
    ),
)
