"""Parameters of a request, each with the type that it must have."""

from collections.abc import Mapping

from diffmask_service.errors import InvalidInput, shown_name
from diffmask_service.wire.inference import messages as pb

Parameters = Mapping[str, pb.InferParameter]
_MEANING_BY_FIELD = {
    "bool_param": "a bool",
    "int64_param": "a whole number",
    "uint64_param": "a whole number",
    "string_param": "a string",
    "double_param": "a float",
    None: "without a value that this server knows",
}


def flag(parameters: Parameters, name: str) -> bool:
    """Return a switch, off when it is absent.

    Raises:
        InvalidInput: It is not a bool.
    """
    given = parameters.get(name)
    if given is None:
        return False
    if given.WhichOneof("parameter_choice") != "bool_param":
        raise _wrong(name, given, "a bool")
    return given.bool_param


def names(parameters: Parameters, name: str) -> tuple[str, ...]:
    """Return names that stand in one string with commas between them.

    Raises:
        InvalidInput: It is not a string, or names one thing twice.
    """
    given = tuple(part.strip() for part in string(parameters, name).split(","))
    if len(set(given)) < len(given):
        raise InvalidInput(f"parameters.{name}: holds a name twice; name each once")
    return () if given == ("",) else given


def string(parameters: Parameters, name: str) -> str:
    """Return a string, empty when it is absent.

    Raises:
        InvalidInput: It is not a string.
    """
    given = parameters.get(name)
    if given is None:
        return ""
    if given.WhichOneof("parameter_choice") != "string_param":
        raise _wrong(name, given, "a string")
    return given.string_param


def whole_number(parameters: Parameters, name: str, *, at_least: int) -> int | None:
    """Return a whole number, or None when it is absent.

    Clients choose the signed or the unsigned field by their own rules; both count.

    Raises:
        InvalidInput: It is not a whole number, or too small.
    """
    given = parameters.get(name)
    if given is None:
        return None
    field = given.WhichOneof("parameter_choice")
    if field not in ("int64_param", "uint64_param"):
        raise _wrong(name, given, "a whole number")
    value = int(getattr(given, field))
    if value < at_least:
        raise InvalidInput(
            f"parameters.{name}: is {value}; give at least {at_least}, or leave it out"
        )
    return value


def refuse_others(
    parameters: Parameters, known: tuple[str, ...], *, where: str = "parameters"
) -> None:
    """Refuse a name that nobody reads, lest a misspelt option be passed over.

    Args:
        parameters: What came.
        known: Names that are read.
        where: Whose they are, for error messages.

    Raises:
        InvalidInput: There is another name.
    """
    for name in sorted(parameters):
        if name not in known:
            raise InvalidInput(
                f"{where}: holds {shown_name(name)}; known are {', '.join(known)}"
            )


def _wrong(name: str, given: pb.InferParameter, wanted: str) -> InvalidInput:
    came = _MEANING_BY_FIELD[given.WhichOneof("parameter_choice")]
    return InvalidInput(f"parameters.{name}: is {came}; send {wanted}")
