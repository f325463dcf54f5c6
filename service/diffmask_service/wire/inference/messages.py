"""Messages of the Open Inference Protocol, in a pool of their own.

A generated module would register them in the one pool of the process, which refuses a
second `inference.ModelInferRequest`; `tritonclient` and KServe's client each bring one.
So the messages are made here from the committed descriptors, out of the others' way.
Their types stand in the stub beside this module.
"""

from importlib import resources
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClass


def _build() -> dict[str, Any]:
    content = resources.files(__package__).joinpath("messages.binpb").read_bytes()
    (file,) = FileDescriptorSet.FromString(content).file
    pool = DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindFileByName(file.name)
    built: dict[str, Any] = {"DESCRIPTOR": descriptor}
    for name, message in descriptor.message_types_by_name.items():
        built[name] = GetMessageClass(message)
    for name, enum in descriptor.enum_types_by_name.items():
        built[name] = EnumTypeWrapper(enum)
        built |= dict(built[name].items())
    return built


globals().update(_build())
