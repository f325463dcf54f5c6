"""What gates looked like on the report texts, to compare live traffic with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diffmask_service.bundle.training_report import Count, Share
from diffmask_service.core.drift import BIN_EDGES, bin_index

# With more labels hardly any of them has texts enough to tell a shift from chance, and
# a manifest would grow with labels times states times bins.
MAX_HISTOGRAM_LABELS = 8

_Counts: TypeAlias = tuple[tuple[tuple[Count, ...], ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextHistograms:
    """Texts counted by figures of their gates.

    Attributes:
        bin_edges: Rising, in [0, 1]; each but the last bin holds its upper end, the
            first one nothing under it.
        kept_share: `[labels][layers][bins]`. Texts by their share of tokens with a gate
            over the threshold; one entry for all labels where there are many of them,
            or none.
        mean_gate: `[labels][layers][bins]`. Texts by their mean expected gate value.
    """

    bin_edges: tuple[Share, ...]
    kept_share: _Counts
    mean_gate: _Counts

    def __post_init__(self) -> None:
        """Check what one field says against another."""
        if not all(low < high for low, high in pairwise(self.bin_edges)):
            raise ValueError("bin_edges must rise")
        if _shape(self.kept_share) != _shape(self.mean_gate):
            raise ValueError("kept_share and mean_gate differ in their axes")
        if {size for row in _shape(self.kept_share) for size in row} != {
            len(self.bin_edges) + 1
        }:
            raise ValueError(f"needs {len(self.bin_edges) + 1} bins in every state")
        # A text has one of each figure in every state. Drift divides by their number.
        for of_label in zip(self.kept_share, self.mean_gate, strict=True):
            if len({sum(bins) for rows in of_label for bins in rows}) > 1:
                raise ValueError("kept_share and mean_gate differ in their texts")

    def check(self, *, num_labels: int, num_states: int) -> None:
        """Check the axes against the manifest's.

        Raises:
            ValueError: They differ from it.
        """
        allowed = {1, num_labels} if num_labels <= MAX_HISTOGRAM_LABELS else {1}
        if len(self.kept_share) not in allowed:
            raise ValueError(
                f"histograms hold {len(self.kept_share)} labels, not"
                f" {' or '.join(map(str, sorted(allowed)))}"
            )
        if any(len(rows) != num_states for rows in self.kept_share):
            raise ValueError(f"histograms must hold {num_states} states")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceDistribution:
    """What gates looked like on the report texts.

    Attributes:
        num_texts: Texts by predicted label; one entry for all texts where a text has no
            single label.
        mean_gate: `[labels][layers]`. Mean expected gate value of a token.
        kept_share: `[labels][layers]`. Share of tokens with a gate over the threshold.
        histograms: The same text by text, for the drift of live traffic; None in
            bundles of releases that did not count them.
    """

    num_texts: tuple[Count, ...]
    mean_gate: tuple[tuple[Share, ...], ...]
    kept_share: tuple[tuple[Share, ...], ...]
    histograms: TextHistograms | None = None


References: TypeAlias = Mapping[Literal["input", "hidden"], ReferenceDistribution]


def count_texts(
    figures: NDArray[np.float64], label_indices: Sequence[int], *, num_labels: int
) -> TextHistograms:
    """Count texts by the figures of one kind of gate.

    Args:
        figures: `[texts, figures, layers]` float64 in [0, 1], as `gate_figures` gives
            them text by text.
        label_indices: Predicted label of each text; 0 where it has no single one.
        num_labels: Labels of the model; 1 where a text has no single one.
    """
    num_groups = num_labels if num_labels <= MAX_HISTOGRAM_LABELS else 1
    edges = np.array(BIN_EDGES)
    bins = bin_index(figures, edges)
    counts = np.zeros((num_groups, *figures.shape[1:], len(edges) + 1), dtype=np.int64)
    places = np.indices(figures.shape[1:])
    for label, text in zip(label_indices, bins, strict=True):
        counts[label if num_groups > 1 else 0, places[0], places[1], text] += 1
    kept_share, mean_gate = (
        tuple(tuple(tuple(row) for row in rows) for rows in counts[:, place].tolist())
        for place in range(2)
    )
    return TextHistograms(
        bin_edges=BIN_EDGES, kept_share=kept_share, mean_gate=mean_gate
    )


def _shape(counts: Sequence[Sequence[Sequence[int]]]) -> list[list[int]]:
    return [[len(bins) for bins in rows] for rows in counts]
