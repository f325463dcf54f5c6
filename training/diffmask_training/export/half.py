"""Reduced arithmetic for GPUs: numbers of 16 bits.

Inputs and outputs stay as they are. The gates' distribution stays float32: sums of
logarithms over all states lose too much in 16 bits.
"""

from onnx import ModelProto
from onnxruntime.transformers.float16 import (
    DEFAULT_OP_BLOCK_LIST,
    convert_float_to_float16,
)

_GATES = ("Sigmoid", "Log", "CumSum", "Exp")


def halve(model: ModelProto) -> ModelProto:
    """Return a copy of a float32 graph that computes with 16-bit numbers.

    Args:
        model: The graph.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    halved: ModelProto = convert_float_to_float16(
        copy,
        keep_io_types=True,
        disable_shape_infer=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *_GATES],
    )
    return halved
