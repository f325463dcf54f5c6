"""The Open Inference Protocol as a service of a gRPC server.

No generated code does this: it would look for the messages in the pool of the process.
"""

from typing import Any

import grpc

from diffmask_service.transport.grpc.inference_servicer import InferenceServicer
from diffmask_service.wire.inference import messages as pb

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]


def add_inference_servicer(
    servicer: InferenceServicer, server: grpc.aio.Server
) -> None:
    """Give a server the methods of the protocol.

    Args:
        servicer: Who answers them.
        server: Which.
    """
    handlers: dict[str, Any] = {}
    for method in SERVICE.methods:
        make: Any = (
            grpc.stream_stream_rpc_method_handler
            if method.server_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        handlers[method.name] = make(
            getattr(servicer, method.name),
            request_deserializer=getattr(pb, method.input_type.name).FromString,
            response_serializer=getattr(pb, method.output_type.name).SerializeToString,
        )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE.full_name, handlers),)
    )
