"""What all comparisons of a replay come to."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from diffmask_service.core.values import ModelIdentity
from diffmask_service.replay.comparison import Comparison, Difference


@dataclass(slots=True, kw_only=True)
class Verdict:
    """Counts over comparisons, and the largest difference between gates.

    Attributes:
        num_compared: Texts compared.
        num_differing: Those of them whose records differ.
        largest: The comparison with the largest difference between gates; None where
            no gates differ in value.
    """

    num_compared: int = 0
    num_differing: int = 0
    largest: Comparison | None = None

    def add(self, comparison: Comparison) -> None:
        """Count a comparison."""
        self.num_compared += 1
        self.num_differing += bool(comparison.differences)
        if _size(comparison) > (0.0 if self.largest is None else _size(self.largest)):
            self.largest = comparison


def differing_fields(before: ModelIdentity, after: ModelIdentity) -> Iterator[str]:
    """Yield what differs between who answered before and who answers now."""
    for field in fields(ModelIdentity):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old != new:
            yield f"{field.name} of the bundle: was {old}, is {new}"


def _size(comparison: Comparison) -> float:
    found: Difference | None = comparison.largest_of_gates
    return 0.0 if found is None or found.size is None else found.size
