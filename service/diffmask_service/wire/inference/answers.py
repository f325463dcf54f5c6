"""What outputs are made of, and what an output is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from diffmask_service.core.predictions import Float32Array, Units
from diffmask_service.core.values import Explanation, GateKind
from diffmask_service.wire.inference.axes import Axis
from diffmask_service.wire.inference.tensors import Array, Datatype, bytes_array


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the outputs of a batch are made of.

    Attributes:
        explanations: One for each text, at least one.
        labels: Label names of the model.
        tokens: Where the tokens stand.
        units: Where the tokens or words stand that the explanations speak of.
        has_offsets: Whether the texts came as texts, so that tokens stand in them.
    """

    explanations: tuple[Explanation, ...]
    labels: tuple[str, ...]
    tokens: Axis
    units: Axis
    has_offsets: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output.

    Attributes:
        name: Its name.
        datatype: What an element is.
        axes: Names of its axes, or the size of one that has no name.
        make: Makes its values.
        gates: Gates that must be computed for it.
        is_of_units: Whether it speaks of the units that the caller chose.
        verifies: Whether the kept tokens must be run for it.
    """

    name: str
    datatype: Datatype
    axes: tuple[str | int, ...]
    make: Callable[[Answers], Array]
    gates: frozenset[GateKind] = frozenset()
    is_of_units: bool = False
    verifies: bool = False


def of_text(
    name: str, datatype: Datatype, make: Callable[[Answers], Array], *axes: str | int
) -> Output:
    """Return an output that speaks of a text as a whole, or of its prediction."""
    return Output(name=name, datatype=datatype, axes=("batch", *axes), make=make)


def spread_texts(units: Sequence[Units], axis: Axis) -> Array:
    """Return `[batch, size]` BYTES: the words or tokens of each text."""
    rows = [bytes_array([text.encode() for text in each.texts]) for each in units]
    return axis.spread(rows, fill=b"")


def spread_offsets(units: Sequence[Units], axis: Axis, *, has_offsets: bool) -> Array:
    """Return `[batch, size, 2]`: where they stand, code points; -1 for nowhere."""
    rows = [np.stack([each.starts, each.ends], axis=-1) for each in units]
    offsets = axis.spread(rows, fill=-1)
    return offsets if has_offsets else np.full_like(offsets, -1)


def asked(values: Float32Array | None) -> Float32Array:
    """Return values that are there because an output that needs them was asked for."""
    if values is None:
        raise AssertionError("what an output needs is computed")
    return values
