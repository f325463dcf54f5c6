"""Replies that `diffmask explain --json` wrote, and what they say."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from diffmask_service.core.values import ExplainOptions, ModelIdentity, TextInput
from diffmask_service.errors import InvalidInput
from diffmask_service.render import Report, render_json
from diffmask_service.render.json_text import FORMAT


class _Text(msgspec.Struct):
    text: str
    text_pair: str | None


class _Document(msgspec.Struct):
    format: int
    model: ModelIdentity
    options: ExplainOptions
    states: tuple[str, ...]
    explanations: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedReply:
    """A reply as its JSON holds it.

    Attributes:
        model: Who answered.
        options: What was asked for.
        states: Names along the `layers` axis of its gates.
        inputs: The texts.
        explanations: One record for each.
    """

    model: ModelIdentity
    options: ExplainOptions
    states: tuple[str, ...]
    inputs: tuple[TextInput, ...]
    explanations: tuple[Mapping[str, Any], ...]

    def tokens(self, number: int) -> tuple[str, ...]:
        """Return the units of an explanation; none where it has no gates."""
        units = self.explanations[number].get("units") or ()
        return tuple(str(unit["text"]) for unit in units)


def read_reply(path: Path) -> RecordedReply:
    """Return the reply in a file.

    Raises:
        InvalidInput: It cannot be read, or holds something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
    return _parse(content, name=str(path))


def as_recorded(report: Report) -> RecordedReply:
    """Return a fresh reply as it would stand in a file."""
    return _parse(render_json(report).encode(), name="the answer")


def _parse(content: bytes, *, name: str) -> RecordedReply:
    try:
        document = msgspec.json.decode(content, type=_Document)
        texts = msgspec.convert(document.explanations, list[_Text])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{name}: is not what `diffmask explain --json` writes ({error})"
        ) from error
    if document.format != FORMAT:
        raise InvalidInput(
            f"{name}: is of format {document.format}, not {FORMAT}; replay it with the"
            " release that wrote it"
        )
    if not texts:
        raise InvalidInput(f"{name}: holds no explanation")
    return RecordedReply(
        model=document.model,
        options=document.options,
        states=document.states,
        inputs=tuple(TextInput(text=x.text, text_pair=x.text_pair) for x in texts),
        explanations=tuple(document.explanations),
    )
