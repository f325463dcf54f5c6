"""From texts to explanations: tokenizer, queue, runs of the graph, decoding."""

from diffmask_service.engine.engine import Engine
from diffmask_service.engine.limits import EngineLimits

__all__ = ["Engine", "EngineLimits"]
