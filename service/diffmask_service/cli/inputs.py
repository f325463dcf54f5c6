"""The texts of `diffmask explain`: from the command line or from standard input."""

import argparse
import sys
from collections.abc import Callable, Mapping

import msgspec

from diffmask_service.core.values import TextInput
from diffmask_service.errors import InvalidInput

STDIN = "-"


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    text_pair: str | None = None


def read_inputs(arguments: argparse.Namespace) -> tuple[TextInput, ...]:
    """Return what to explain.

    Args:
        arguments: What was parsed.

    Raises:
        InvalidInput: Standard input holds no text or something else; the line is named.
    """
    if arguments.text != STDIN:
        return (TextInput(text=arguments.text, text_pair=arguments.pair),)
    if arguments.pair is not None:
        raise InvalidInput(
            "--pair: goes with one text, not with standard input; give pairs with"
            " --input-format tsv or jsonl"
        )
    parse = _PARSE_BY_FORMAT[arguments.input_format]
    texts = []
    for number, line in enumerate(sys.stdin.buffer, start=1):
        where = f"standard input, line {number}"
        try:
            content = line.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"{where}: is not UTF-8 at byte {error.start}"
            ) from error
        if content.strip():
            texts.append(parse(content, where))
    if not texts:
        raise InvalidInput("standard input: holds no text; give one a line")
    return tuple(texts)


def _parse_text(line: str, where: str) -> TextInput:
    del where
    return TextInput(text=line.strip())


def _parse_tsv(line: str, where: str) -> TextInput:
    text, *rest = line.split("\t")
    if len(rest) > 1:
        raise InvalidInput(
            f"{where}: has {len(rest)} tabs; put one between a text and its pair, or"
            " use --input-format jsonl for texts that hold tabs"
        )
    return TextInput(text=text, text_pair=rest[0] if rest else None)


def _parse_jsonl(line: str, where: str) -> TextInput:
    try:
        record = msgspec.json.decode(line, type=_Record)
    except msgspec.DecodeError as error:
        raise InvalidInput(
            f'{where}: is not like {{"text": "...", "text_pair": "..."}} ({error})'
        ) from error
    return TextInput(text=record.text, text_pair=record.text_pair)


_PARSE_BY_FORMAT: Mapping[str, Callable[[str, str], TextInput]] = {
    "text": _parse_text,
    "tsv": _parse_tsv,
    "jsonl": _parse_jsonl,
}
INPUT_FORMATS = tuple(_PARSE_BY_FORMAT)
