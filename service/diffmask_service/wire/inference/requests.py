"""ModelInfer requests: what is asked, of which texts, and what the answer should hold.

A request is read against the model that it asks: which inputs and outputs there are is
the model's to say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffmask_service.core.values import (
    ExplainOptions,
    GateKind,
    Granularity,
    ModelDescription,
    ModelInput,
)
from diffmask_service.errors import InvalidInput, shown_name
from diffmask_service.wire.inference import messages as pb
from diffmask_service.wire.inference.answers import Output
from diffmask_service.wire.inference.axes import Axis
from diffmask_service.wire.inference.inputs import read_inputs
from diffmask_service.wire.inference.outputs import outputs_of
from diffmask_service.wire.inference.parameters import (
    Parameters,
    flag,
    names,
    refuse_others,
    string,
    whole_number,
)

_PARAMETERS = (
    "timeout",
    "priority",
    "states",
    "granularity",
    "top_k",
    "truncate",
    "verify",
    "verify_states",
)
# For servers of another kind, or for the protocol's HTTP form.
_PASSED_OVER = frozenset({"headers", "binary_data_output", "content_type"})
_PASSED_OVER_PREFIX = "triton_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One output as the request wants it.

    Attributes:
        output: Which.
        num_classes: How many labels of highest value to return instead of its values;
            None for the values.
    """

    output: Output
    num_classes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InferCall:
    """One call of ModelInfer.

    Attributes:
        id: The caller's name for it; may be empty.
        inputs: The texts, or their tokens; at least one.
        tokens: Where the caller's tokens stand; None for texts.
        options: What must be computed.
        outputs: What to return, in that order.
        is_raw: Whether the values came as raw bytes, and so go back as such.
        timeout_seconds: Time that the caller gives, seconds, > 0; None for no limit.
        priority: 1 is served first, larger numbers later; 0 for the default.
    """

    id: str
    inputs: tuple[ModelInput, ...]
    tokens: Axis | None
    options: ExplainOptions
    outputs: tuple[Wanted, ...]
    is_raw: bool
    timeout_seconds: float | None
    priority: int


def read_request(
    message: pb.ModelInferRequest, model: ModelDescription, *, max_texts: int
) -> InferCall:
    """Parse a request.

    Args:
        message: The request.
        model: Whom it asks.
        max_texts: Most texts that it may hold.

    Raises:
        InvalidInput: A tensor, an output or a parameter is missing, unknown or
            malformed, or contradicts another; the message begins with its name.
    """
    parameters = message.parameters
    _check_names(parameters)
    asked = read_inputs(message, model, max_texts=max_texts)
    verify_states = names(parameters, "verify_states")
    verifies = flag(parameters, "verify") or bool(verify_states)
    wanted = _read_outputs(message.outputs, model, verifies=verifies)
    microseconds = whole_number(parameters, "timeout", at_least=0)
    return InferCall(
        id=message.id,
        inputs=asked.inputs,
        tokens=asked.tokens,
        options=_read_options(
            parameters,
            [each.output for each in wanted],
            verifies=verifies,
            verify_states=verify_states,
        ),
        outputs=wanted,
        is_raw=bool(message.raw_input_contents),
        timeout_seconds=microseconds / 1e6 if microseconds else None,
        priority=whole_number(parameters, "priority", at_least=0) or 0,
    )


def _check_names(parameters: Parameters) -> None:
    ours: Mapping[str, pb.InferParameter] = {
        name: value
        for name, value in parameters.items()
        if name not in _PASSED_OVER and not name.startswith(_PASSED_OVER_PREFIX)
    }
    refuse_others(ours, _PARAMETERS)


def _read_outputs(
    requested: Sequence[pb.ModelInferRequest.InferRequestedOutputTensor],
    model: ModelDescription,
    *,
    verifies: bool,
) -> tuple[Wanted, ...]:
    known = {output.name: output for output in outputs_of(model)}
    if not requested:
        # Another run of the model is nothing to be given unasked.
        every = (each for each in known.values() if verifies or not each.verifies)
        return tuple(Wanted(output=each) for each in every)
    wanted: dict[str, Wanted] = {}
    for each in requested:
        if each.name not in known:
            raise InvalidInput(
                f"outputs: the model has no output {shown_name(each.name)}; it has"
                f" {', '.join(known)}"
            )
        if each.name in wanted:
            raise InvalidInput(f"outputs: {each.name} is asked for twice; ask once")
        wanted[each.name] = _read_output(each, known[each.name])
    return tuple(wanted.values())


def _read_output(
    requested: pb.ModelInferRequest.InferRequestedOutputTensor, output: Output
) -> Wanted:
    where = f"outputs.{output.name}.parameters"
    # That outputs are binary is a wish of the HTTP form, where it is not plain.
    refuse_others(requested.parameters, ("classification", "binary_data"), where=where)
    num_classes = whole_number(requested.parameters, "classification", at_least=1)
    if num_classes is not None and output.axes != ("batch", "labels"):
        raise InvalidInput(
            f"{where}.classification: chooses among labels; {output.name} is"
            f" [{', '.join(map(str, output.axes))}]"
        )
    return Wanted(output=output, num_classes=num_classes)


def _read_options(
    parameters: Parameters,
    outputs: Sequence[Output],
    *,
    verifies: bool,
    verify_states: tuple[str, ...],
) -> ExplainOptions:
    granularity = string(parameters, "granularity") or Granularity.TOKENS
    if granularity not in tuple(Granularity):
        raise InvalidInput(
            f"parameters.granularity: {shown_name(granularity)} is not known; send"
            f" {' or '.join(Granularity)}"
        )
    top_k = whole_number(parameters, "top_k", at_least=1)
    gates: frozenset[GateKind] = frozenset().union(*(each.gates for each in outputs))
    has_units = top_k is not None or granularity != Granularity.TOKENS
    if has_units and any(each.is_of_units for each in outputs):
        # Units are chosen and put together by their scores.
        gates |= {GateKind.INPUT}
    return ExplainOptions(
        gates=gates,
        states=names(parameters, "states"),
        granularity=Granularity(granularity),
        top_k=top_k,
        truncate=flag(parameters, "truncate"),
        verify=verifies or any(each.verifies for each in outputs),
        verify_states=verify_states,
    )
