"""A server of tiny models in this process, and calls without any client's help."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from diffmask_service.engine import Engine
from diffmask_service.repository import Repository
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.transport.grpc.inference_service import SERVICE
from diffmask_service.transport.grpc.inference_servicer import ModelControl
from diffmask_service.transport.grpc.server import GrpcSettings, bind, build_server
from diffmask_service.wire.inference import messages as pb
from diffmask_service.wire.inference.tensors import (
    Datatype,
    Tensor,
    bytes_array,
    pack,
    read_contents,
    unpack,
    write_contents,
)

SETTINGS = GrpcSettings(
    host="127.0.0.1", port=0, max_message_bytes=65_536, has_reflection=True
)
Array = NDArray[Any]


@asynccontextmanager
async def serving(
    *engines: Engine,
    control: ModelControl | None = None,
    health: HealthServicer | None = None,
) -> AsyncIterator[str]:
    """Serve engines on a free port; give what a client connects to."""
    if health is None:
        health = HealthServicer({"tiny"})
        health.set_ready(True)
    server = build_server(
        Repository(list(engines)),
        health,
        telemetry=Telemetry(),
        settings=SETTINGS,
        stopping=asyncio.Event(),
        control=control,
    )
    port = bind(server, SETTINGS)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


class Caller:
    """Calls methods of the protocol with our own messages."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel

    async def call(self, name: str, request: Any, **keywords: Any) -> Any:
        """Call a unary method."""
        reply = getattr(pb, SERVICE.methods_by_name[name].output_type.name)
        method: Any = self.channel.unary_unary(
            f"/{SERVICE.full_name}/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply.FromString,
        )
        return await method(request, **keywords)

    async def stream(self, *requests: pb.ModelInferRequest | bytes) -> list[Any]:
        """Send requests over one stream, and return every answer."""
        method: Any = self.channel.stream_stream(
            f"/{SERVICE.full_name}/ModelStreamInfer",
            request_serializer=lambda each: (
                each if isinstance(each, bytes) else each.SerializeToString()
            ),
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        return [each async for each in method(iter(requests))]


@asynccontextmanager
async def calling(
    *engines: Engine,
    control: ModelControl | None = None,
    health: HealthServicer | None = None,
) -> AsyncIterator[Caller]:
    """Serve engines and call them."""
    async with (
        serving(*engines, control=control, health=health) as target,
        grpc.aio.insecure_channel(target) as channel,
    ):
        yield Caller(channel)


def infer_request(
    texts: Sequence[str | bytes] = ("a funny movie",),
    *,
    outputs: Sequence[str] = (),
    is_raw: bool = False,
    pairs: Mapping[str, Sequence[str]] | None = None,
    **parameters: bool | int | str,
) -> pb.ModelInferRequest:
    """Return a request of texts, or of `pairs` by tensor name."""
    columns = {"text": texts} if pairs is None else pairs
    tensors = [text_tensor(name, column) for name, column in columns.items()]
    return tensor_request(*tensors, outputs=outputs, is_raw=is_raw, **parameters)


def tensor_request(
    *tensors: Tensor,
    outputs: Sequence[str] = (),
    is_raw: bool = False,
    **parameters: bool | int | str,
) -> pb.ModelInferRequest:
    """Return a request of tensors, whatever they are."""
    wanted = pb.ModelInferRequest.InferRequestedOutputTensor
    request = pb.ModelInferRequest(
        inputs=[
            pb.ModelInferRequest.InferInputTensor(
                name=tensor.name,
                datatype=tensor.datatype,
                shape=tensor.values.shape,
                contents=None if is_raw else write_contents(tensor),
            )
            for tensor in tensors
        ],
        outputs=[wanted(name=name) for name in outputs],
        raw_input_contents=map(pack, tensors) if is_raw else (),
    )
    for name, value in parameters.items():
        set_parameter(request.parameters[name], value)
    return request


def text_tensor(name: str, texts: Sequence[str | bytes]) -> Tensor:
    """Return a tensor of texts."""
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    return Tensor(name=name, datatype=Datatype.BYTES, values=bytes_array(raw))


def ids_tensor(name: str, rows: Sequence[Sequence[int]]) -> Tensor:
    """Return a tensor of tokens."""
    values = np.array(rows, dtype=np.int64)
    return Tensor(name=name, datatype=Datatype.INT64, values=values)


def set_parameter(parameter: pb.InferParameter, value: bool | int | str) -> None:
    """Set a parameter by the type of its value."""
    match value:
        case bool():
            parameter.bool_param = value
        case int():
            parameter.int64_param = value
        case str():
            parameter.string_param = value


def arrays(response: pb.ModelInferResponse) -> dict[str, Array]:
    """Return every output of a reply, whichever way it came."""
    found = {}
    for index, output in enumerate(response.outputs):
        datatype = Datatype(output.datatype)
        if response.raw_output_contents:
            raw = response.raw_output_contents[index]
            values = unpack(raw, datatype, output.shape, output.name)
        else:
            values = read_contents(output.contents, datatype, output.shape, output.name)
        found[output.name] = values
    return found
