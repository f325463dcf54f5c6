"""Reflection: tools may ask the server for its API."""

from collections.abc import Sequence

import grpc
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection, reflection_pb2


def reflect(server: grpc.aio.Server, services: Sequence[ServiceDescriptor]) -> None:
    """Let a server tell of its services, and of reflection itself.

    The services come from several pools, and reflection reads one: theirs are copied
    into one that nobody else sees.

    Args:
        server: A server that has them.
        services: What to tell of.
    """
    pool, added = DescriptorPool(), set[str]()
    for file in (*(each.file for each in services), reflection_pb2.DESCRIPTOR):
        _add(file, pool, added)
    names = (*(each.full_name for each in services), reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server, pool=pool)


def _add(file: FileDescriptor, pool: DescriptorPool, added: set[str]) -> None:
    if file.name in added:
        return
    added.add(file.name)
    for needed in file.dependencies:
        _add(needed, pool, added)
    pool.AddSerializedFile(file.serialized_pb)
