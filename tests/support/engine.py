"""Calls of an engine that serves the tiny model, and what it counted."""

from diffmask_service.core.values import ExplainOptions, Explanation, TextInput
from diffmask_service.engine import Engine
from diffmask_service.telemetry import Telemetry
from tests.support.replies import labelled

TEXT = "a funny movie"
BOTH = ExplainOptions()


async def explain_one(
    engine: Engine, text: str = TEXT, options: ExplainOptions = BOTH
) -> Explanation:
    """Return the explanation of one text."""
    reply = await engine.explain([TextInput(text=text)], options)
    return reply.explanations[0]


def counted(telemetry: Telemetry, name: str, **labels: str) -> float:
    """Return a metric of the tiny model."""
    labels = {"model": "tiny", "version": "3", **labels}
    value = telemetry.registry.get_sample_value(name, labels)
    assert value is not None
    return value


def as_bytes(explanation: Explanation) -> tuple[bytes, ...]:
    """Return the bits of the logits and the gates."""
    assert explanation.input_gates is not None
    assert explanation.hidden_gates is not None
    return (
        labelled(explanation.prediction).logits.tobytes(),
        explanation.input_gates.tobytes(),
        explanation.hidden_gates.tobytes(),
    )
