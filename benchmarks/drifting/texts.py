"""Texts reduced to what drift sees of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diffmask_service.bundle import Manifest, gate_figures, read_bundle
from diffmask_service.core.drift import BIN_EDGES, FIGURES, bin_index
from diffmask_service.core.values import TextInput
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.loading import load

Kind: TypeAlias = Literal["input", "hidden"]
# `[labels, figures, layers, bins]`: texts counted by their figures.
Counts: TypeAlias = Mapping[Kind, NDArray[np.int64]]

_KINDS: tuple[Kind, ...] = ("input", "hidden")
_NUM_BINS = len(BIN_EDGES) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTexts:
    """Texts, as drift sees them.

    Attributes:
        labels: `[texts]` int64. Predicted label of each.
        bins: `[texts, figures, layers]` int64 for each kind of gate. Where their
            figures fall.
    """

    labels: NDArray[np.int64]
    bins: Mapping[Kind, NDArray[np.int64]]

    @classmethod
    def of_gates(
        cls, texts: Iterable[tuple[int, Mapping[Kind, NDArray[np.float32]]]]
    ) -> Self:
        """Reduce texts one after the other.

        Args:
            texts: Label and gates `[layers, tokens]` of each.
        """
        labels: list[int] = []
        bins: dict[Kind, list[NDArray[np.int64]]] = {kind: [] for kind in _KINDS}
        for label, gates in texts:
            labels.append(label)
            for kind in _KINDS:
                figures = gate_figures(gates[kind], threshold=0.5)
                bins[kind].append(bin_index(figures, np.array(BIN_EDGES)))
        return cls(
            labels=np.array(labels),
            bins={kind: np.stack(rows) for kind, rows in bins.items()},
        )

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, places: NDArray[np.int64]) -> Self:
        """Return some of the texts, in another order, again and again if so asked."""
        return type(self)(
            labels=self.labels[places],
            bins={kind: rows[places] for kind, rows in self.bins.items()},
        )

    def count(self, *, num_labels: int) -> Counts:
        """Return how often each bin was met, as a manifest has it."""
        return {
            kind: np.stack(
                [
                    (rows[self.labels == label][..., np.newaxis] == range(_NUM_BINS))
                    .sum(axis=0)
                    .astype(np.int64)
                    for label in range(num_labels)
                ]
            )
            for kind, rows in self.bins.items()
        }


def reference_counts(manifest: Manifest) -> Counts:
    """Return what a manifest has counted of its report texts."""
    counts: dict[Kind, NDArray[np.int64]] = {}
    for kind in _KINDS:
        histograms = manifest.reference[kind].histograms
        if histograms is None:
            raise SystemExit("the bundle has no histograms; export it again")
        figures = [np.array(getattr(histograms, name)) for name in FIGURES]
        counts[kind] = np.stack(figures, axis=1)
    return counts


def look(bundle: Path, texts: Sequence[str]) -> SeenTexts:
    """Run a bundle on texts.

    Args:
        bundle: Which.
        texts: Cut where they are too long.
    """
    loaded = load(read_bundle(bundle), precision=None)

    def gates_of(text: str) -> tuple[int, dict[Kind, NDArray[np.float32]]]:
        tokens = loaded.tokenizer.tokenize(
            TextInput(text=text), truncate=True, where="a text"
        )
        row = Row(input_ids=tokens.input_ids, token_type_ids=tokens.token_type_ids)
        outputs = loaded.session.run(
            [row], fetches=("logits", "input_gates", "hidden_gates")
        )
        if outputs.input_gates is None or outputs.hidden_gates is None:
            raise AssertionError("all gates were asked for")
        gates: dict[Kind, NDArray[np.float32]] = {
            "input": outputs.input_gates[0],
            "hidden": outputs.hidden_gates[0],
        }
        return int(outputs.logits[0].argmax()), gates

    return SeenTexts.of_gates(map(gates_of, texts))
