"""Which method is called, and how its requests are written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from diffmask_service.wire.pb import explain_pb2 as pb

Wish = Literal["predict", "explain", "verify"]

_BOTH = (pb.GATE_KIND_INPUT, pb.GATE_KIND_HIDDEN)
_OPTIONS: Mapping[Wish, pb.ExplainOptions] = {
    "predict": pb.ExplainOptions(truncate=True),
    "explain": pb.ExplainOptions(truncate=True, gates=_BOTH),
    "verify": pb.ExplainOptions(truncate=True, gates=_BOTH, verify=pb.VerifyOptions()),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A method that takes texts.

    Attributes:
        name: What a table calls it.
        path: Its full name, as HTTP/2 carries it.
        write: Texts, and what is wished of them, to the bytes of a request.
    """

    name: str
    path: str
    write: Callable[[Sequence[str], Wish], bytes]


def _write_explain(texts: Sequence[str], wish: Wish) -> bytes:
    return pb.ExplainRequest(
        inputs=[pb.TextInput(text=text) for text in texts], options=_OPTIONS[wish]
    ).SerializeToString()


EXPLAIN = Target(
    name="Explain", path="/diffmask.v1.Explainer/Explain", write=_write_explain
)
