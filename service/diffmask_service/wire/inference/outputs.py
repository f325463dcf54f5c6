"""Which outputs a model has.

One table holds the outputs of every model, another those of each task. What an output
needs is part of its row, so that nothing is computed that nobody asked for.
"""

from diffmask_service.core.values import ModelDescription
from diffmask_service.wire.inference import explanations, predictions
from diffmask_service.wire.inference.answers import Output


def outputs_of(model: ModelDescription) -> tuple[Output, ...]:
    """Return every output of a model, in the order in which all of them come."""
    offered = frozenset(model.gates)
    return (
        *predictions.OUTPUTS_BY_TASK[model.task],
        *(each for each in explanations.OUTPUTS if each.gates <= offered),
    )
