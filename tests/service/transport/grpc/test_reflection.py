"""A client that knows nothing but the address finds both services and calls one."""

import asyncio
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from diffmask_service.engine import Engine
from tests.support.inference import serving


async def reflected(target: str, work: Any) -> Any:
    """Do something with a blocking reflection client, off the serving loop."""

    def with_client() -> Any:
        with grpc.insecure_channel(target) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            return work(channel, database)

    return await asyncio.to_thread(with_client)


async def test_every_service_is_listed(engine: Engine) -> None:
    async with serving(engine) as target:
        names = await reflected(target, lambda _, found: found.get_services())
    assert set(names) == {
        "diffmask.v1.Explainer",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    }


async def test_every_service_that_is_listed_is_described(engine: Engine) -> None:
    def describe(_: Any, database: Any) -> list[int]:
        pool = DescriptorPool(database)
        names = database.get_services()
        return [len(pool.FindServiceByName(name).methods) for name in names]

    async with serving(engine) as target:
        assert all(await reflected(target, describe))


async def test_a_method_is_called_by_its_reflected_types(engine: Engine) -> None:
    def call(channel: Any, database: Any) -> Any:
        pool = DescriptorPool(database)
        service = pool.FindServiceByName("inference.GRPCInferenceService")
        method = service.methods_by_name["ModelInfer"]
        request: Any = GetMessageClass(method.input_type)()
        tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.append(b"good")
        request.outputs.add(name="label")
        stub = channel.unary_unary(
            f"/{service.full_name}/{method.name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return stub(request)

    async with serving(engine) as target:
        reply = await reflected(target, call)
    # Typed, as tools that print JSON need it.
    assert list(reply.outputs[0].contents.bytes_contents) == [b"positive"]
