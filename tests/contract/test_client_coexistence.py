"""Our package and other clients of the protocol share a process, in either order.

Each client registers the protocol's names in the descriptor pool of the process, so no
two of them can be imported together: every combination gets a process of its own.
"""

import subprocess
import sys

import pytest

from diffmask_service.wire.inference import messages as pb

_OURS = "import diffmask_service.app, diffmask_service.client"
_TRITON = "import tritonclient.grpc, tritonclient.grpc.aio"
_IN_USE = """
from diffmask_service.wire.inference import messages as ours
from tritonclient.grpc import service_pb2 as theirs
request = ours.ModelInferRequest(model_name="tiny", raw_input_contents=[b"x"])
request.parameters["priority"].uint64_param = 1
assert theirs.ModelInferRequest.FromString(request.SerializeToString()).model_name
from google.protobuf import descriptor_pool
assert ours.DESCRIPTOR.pool is not descriptor_pool.Default()
"""


@pytest.mark.parametrize(
    "imports", [(_OURS, _TRITON), (_TRITON, _OURS)], ids=["ours first", "theirs first"]
)
def test_tritonclient_is_imported_beside_our_package(imports: tuple[str, str]) -> None:
    code = "\n".join((*imports, _IN_USE))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", sorted(pb.DESCRIPTOR.message_types_by_name))
def test_fields_have_the_numbers_and_types_that_tritonclient_sends(name: str) -> None:
    from tritonclient.grpc import model_config_pb2, service_pb2  # noqa: PLC0415

    ours = pb.DESCRIPTOR.message_types_by_name[name]
    files = (service_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR)
    (theirs,) = (
        file.message_types_by_name[name]
        for file in files
        if name in file.message_types_by_name
    )
    pairs = [(ours, theirs)]
    pairs += [
        (nested, theirs.nested_types_by_name[nested.name])
        for nested in ours.nested_types
    ]
    for our_message, their_message in pairs:
        for field in our_message.fields:
            other = their_message.fields_by_name[field.name]
            assert (field.number, field.type, field.is_repeated) == (
                other.number,
                other.type,
                other.is_repeated,
            )


def test_methods_are_those_that_tritonclient_calls() -> None:
    from tritonclient.grpc import service_pb2  # noqa: PLC0415

    service = "GRPCInferenceService"
    theirs = service_pb2.DESCRIPTOR.services_by_name[service].methods_by_name
    for method in pb.DESCRIPTOR.services_by_name[service].methods:
        other = theirs[method.name]
        assert method.input_type.full_name == other.input_type.full_name
        assert method.output_type.full_name == other.output_type.full_name
        assert method.client_streaming == other.client_streaming
        assert method.server_streaming == other.server_streaming
