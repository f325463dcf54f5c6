"""The self-test: a few texts and the values that the default graph must give."""

from dataclasses import dataclass
from typing import Annotated

import msgspec

from diffmask_service.bundle.strict_json import parse_json
from diffmask_service.errors import BundleError


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestCase:
    """One text and what the graph gave for it at export.

    Attributes:
        text: The text.
        text_pair: The second text of a pair, or None.
        input_ids: `[tokens]`. What the tokenizer must make of it.
        logits: `[labels]`; row by row where each token has its own, `[tokens, labels]`,
            or `[tokens, 2]` for the start and the end of an answer.
        input_gates: `[layers][tokens]` in [0, 1].
        hidden_gates: `[layers][tokens]` in [0, 1].
    """

    text: str
    text_pair: str | None = None
    input_ids: tuple[int, ...]
    logits: tuple[float, ...]
    input_gates: tuple[tuple[float, ...], ...]
    hidden_gates: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """Cases and how far a processor of another make may stray.

    Attributes:
        tolerance: Largest absolute difference of any logit or gate, in [0, 0.5]: more
            would pass what is broken. Arithmetic in 8 bits needs as much: a change of
            3e-6 in the embeddings moved one gate by 0.24.
        cases: At least one and at most 256.
    """

    tolerance: Annotated[float, msgspec.Meta(ge=0.0, le=0.5)]
    cases: Annotated[tuple[SelfTestCase, ...], msgspec.Meta(max_length=256)]

    def to_json(self) -> bytes:
        """Return the self-test as JSON."""
        return msgspec.json.encode(self) + b"\n"


def parse_selftest(raw: bytes) -> SelfTest:
    """Read a self-test.

    Args:
        raw: The bytes of `selftest.json`.

    Raises:
        BundleError: It is malformed or holds no case.
    """
    try:
        selftest = msgspec.convert(parse_json(raw), SelfTest)
    except ValueError as error:
        raise BundleError(f"selftest.json: {error}") from error
    if not selftest.cases:
        raise BundleError("selftest.json: holds no cases; export the bundle again")
    return selftest
