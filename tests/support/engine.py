"""Calls of an engine that serves the tiny model, and what it counted."""

from diffmask_service.core.values import ExplainOptions, Explanation, TextInput
from diffmask_service.engine import Engine
from diffmask_service.telemetry import Telemetry

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
