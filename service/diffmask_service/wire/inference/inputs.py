"""Input tensors to what a model is asked about: texts, or tokens."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from diffmask_service.core.values import (
    ModelDescription,
    ModelInput,
    Task,
    TextInput,
    TokenInput,
)
from diffmask_service.errors import InvalidInput, shown_name
from diffmask_service.wire.inference import messages as pb
from diffmask_service.wire.inference.axes import Axis
from diffmask_service.wire.inference.parameters import refuse_others
from diffmask_service.wire.inference.tensors import (
    Array,
    Datatype,
    read_contents,
    unpack,
)

# What KServe's and MLServer's clients say of a tensor, which its fields say anyway.
_PASSED_OVER = ("binary_data_size", "content_type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input.

    Attributes:
        name: Its name.
        datatype: What an element is.
        num_axes: Number of its axes: the batch, and for tokens theirs.
    """

    name: str
    datatype: Datatype
    num_axes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the inputs of a request ask about.

    Attributes:
        inputs: The texts, or their tokens; at least one.
        tokens: Where the caller's tokens stand; None for texts.
    """

    inputs: tuple[ModelInput, ...]
    tokens: Axis | None


def inputs_of(model: ModelDescription) -> tuple[Input, ...]:
    """Return every input that a model understands; a request sends some of them."""
    return (
        *(
            Input(name=name, datatype=Datatype.BYTES, num_axes=1)
            for name in _text_names(model)
        ),
        *(
            Input(name=name, datatype=Datatype.INT64, num_axes=2)
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ),
    )


def read_inputs(message: pb.ModelInferRequest, model: ModelDescription) -> Asked:
    """Parse the inputs of a request.

    Args:
        message: The request.
        model: Whom it asks.

    Raises:
        InvalidInput: An input is missing, unknown or malformed, or contradicts another.
    """
    array_by_name = _read_arrays(message, model)
    names = _text_names(model)
    if "input_ids" in array_by_name:
        texts = [name for name in names if name in array_by_name]
        if texts:
            raise InvalidInput(f"inputs: send either input_ids or {texts[0]}, not both")
        return _read_tokens(array_by_name)
    missing = [name for name in names if name not in array_by_name]
    if missing:
        raise InvalidInput(
            f"inputs: {missing[0]} is missing; send {' and '.join(names)}, or input_ids"
            " and attention_mask"
        )
    surplus = [name for name in array_by_name if name not in names]
    if surplus:
        raise InvalidInput(f"inputs: {surplus[0]} goes with input_ids; send both")
    _check_same_batch(array_by_name)
    columns = [_decode(name, array_by_name[name]) for name in names]
    return Asked(
        inputs=tuple(
            TextInput(text=row[0], text_pair=row[1] if len(row) > 1 else None)
            for row in zip(*columns, strict=True)
        ),
        tokens=None,
    )


def _text_names(model: ModelDescription) -> tuple[str, ...]:
    if model.task is Task.QUESTION_ANSWERING:
        return ("question", "context")
    return ("text", "text_pair") if model.takes_pairs else ("text",)


def _read_arrays(
    message: pb.ModelInferRequest, model: ModelDescription
) -> Mapping[str, Array]:
    known = {each.name: each for each in inputs_of(model)}
    raw_contents = message.raw_input_contents
    if raw_contents and len(raw_contents) != len(message.inputs):
        raise InvalidInput(
            f"raw_input_contents: has {len(raw_contents)} entries for"
            f" {len(message.inputs)} inputs; send one for each, or none"
        )
    arrays: dict[str, Array] = {}
    for index, tensor in enumerate(message.inputs):
        if tensor.name not in known:
            raise InvalidInput(
                f"inputs: the model has no input {shown_name(tensor.name)}; it has"
                f" {', '.join(known)}"
            )
        if tensor.name in arrays:
            raise InvalidInput(f"inputs: {tensor.name} comes twice; send it once")
        arrays[tensor.name] = _read_array(
            tensor,
            known[tensor.name],
            raw=raw_contents[index] if raw_contents else None,
        )
    return arrays


def _read_array(
    tensor: pb.ModelInferRequest.InferInputTensor, wanted: Input, *, raw: bytes | None
) -> Array:
    where = f"inputs.{wanted.name}"
    refuse_others(tensor.parameters, _PASSED_OVER, where=f"{where}.parameters")
    if tensor.datatype != wanted.datatype:
        raise InvalidInput(
            f"{where}: its datatype is {shown_name(tensor.datatype)}; send"
            f" {wanted.datatype}"
        )
    shape = tuple(tensor.shape)
    # An axis of nothing would let a shape name more texts than the request has bytes.
    if len(shape) != wanted.num_axes or min(shape) < 1:
        axes = "[batch]" if wanted.num_axes == 1 else "[batch, tokens]"
        raise InvalidInput(
            f"{where}: its shape is {list(shape)}; send {axes}, each at least 1"
        )
    if raw is None:
        return read_contents(tensor.contents, wanted.datatype, shape, where)
    if tensor.HasField("contents"):
        raise InvalidInput(
            f"{where}: has contents beside raw_input_contents; send one of them"
        )
    return unpack(raw, wanted.datatype, shape, where)


def _check_same_batch(array_by_name: Mapping[str, Array]) -> None:
    sizes = {name: len(array) for name, array in array_by_name.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise InvalidInput(f"inputs: differ in their number of texts: {listed}")


def _decode(name: str, array: Array) -> list[str]:
    try:
        return [element.decode() for element in array]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"inputs.{name}: holds bytes that are not UTF-8") from error


def _read_tokens(array_by_name: Mapping[str, Array]) -> Asked:
    ids, mask = array_by_name["input_ids"], array_by_name.get("attention_mask")
    if mask is None:
        raise InvalidInput(
            "inputs: attention_mask is missing; send 1 for each token and 0 for padding"
        )
    for name, array in array_by_name.items():
        if array.shape != ids.shape:
            raise InvalidInput(
                f"inputs.{name}: its shape is {list(array.shape)}; input_ids has"
                f" {list(ids.shape)}"
            )
    if not np.isin(mask, (0, 1)).all():
        raise InvalidInput("inputs.attention_mask: holds other values than 0 and 1")
    positions = tuple(np.flatnonzero(row) for row in mask)
    for index, row in enumerate(positions):
        if not len(row) or row[-1] - row[0] >= len(row):
            raise InvalidInput(
                f"inputs.attention_mask: row {index} has no 1, or a 0 between two 1;"
                " the tokens of a text stand side by side"
            )
    kinds = array_by_name.get("token_type_ids")
    return Asked(
        inputs=tuple(
            TokenInput(
                input_ids=ids[index, row],
                token_type_ids=None if kinds is None else kinds[index, row],
            )
            for index, row in enumerate(positions)
        ),
        tokens=Axis(size=ids.shape[1], positions=positions),
    )
