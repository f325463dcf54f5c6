"""How far the gates of live texts have moved away from the bundle's reference texts.

Windows are sliding blocks: the last four chunks of 128 texts of each kind of gate and
each predicted label, kept as counts over the reference's bins, never as texts. At the
end of a chunk the window is compared with the reference in every state; the gauges show
the Kolmogorov-Smirnov distance over its critical value, so that above 1 means a shift.

The critical value bounds false alarms: on a server that explains 1,000 texts a second,
texts like the reference raise one in at most 1 of 100 weeks, over all its labels,
states, kinds and figures together (Bonferroni). It assumes texts that are drawn
independently: a caller who sends the same one again and again is seen as a shift.
"""

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Gauge

from diffmask_service.bundle import TextHistograms
from diffmask_service.core.drift import (
    FIGURES,
    bin_index,
    critical_gap,
    largest_gap,
)
from diffmask_service.core.predictions import Int64Array
from diffmask_service.core.values import GateKind
from diffmask_service.telemetry.series import ModelSeries

CHUNK_TEXTS = 128
WINDOW_CHUNKS = 4
_FALSE_ALARMS_PER_WEEK = 0.01
_WEEKLY_TEXTS = 1000 * 7 * 24 * 3600


class Window:
    """The last texts of one kind of gate and one label, as counts over bins.

    Args:
        reference: `[figures, layers, bins]` int64. Reference texts.
        num_kinds: Kinds of gates that are watched beside each other.
    """

    def __init__(self, reference: Int64Array, *, num_kinds: int) -> None:
        self._reference = reference
        self._num_reference = int(reference[0, 0].sum())
        self._places = np.indices(reference.shape[:2])
        self._chunks: deque[Int64Array] = deque(maxlen=WINDOW_CHUNKS)
        self._newest = np.zeros_like(reference)
        self._num_newest = 0
        num_tests = num_kinds * _WEEKLY_TEXTS / CHUNK_TEXTS * self._places[0].size
        self._false_alarm = _FALSE_ALARMS_PER_WEEK / num_tests

    @property
    def num_texts(self) -> int:
        """Texts of all whole chunks."""
        return len(self._chunks) * CHUNK_TEXTS

    def add(self, bins: Int64Array) -> bool:
        """Count one text, and return whether that ended a chunk.

        Args:
            bins: `[figures, layers]` int64. The bin of each of its figures.
        """
        self._newest[self._places[0], self._places[1], bins] += 1
        self._num_newest += 1
        if self._num_newest < CHUNK_TEXTS:
            return False
        self.add_chunk(self._newest)
        self._newest = np.zeros_like(self._reference)
        self._num_newest = 0
        return True

    def add_chunk(self, counts: Int64Array) -> None:
        """Take over a whole chunk; the oldest one leaves.

        Args:
            counts: `[figures, layers, bins]` int64. `CHUNK_TEXTS` texts.
        """
        self._chunks.append(counts)

    def ratios(self) -> NDArray[np.float64]:
        """Return `[figures, layers]`: the gaps over their critical value, >= 0."""
        live = np.sum(list(self._chunks), axis=0)
        critical = critical_gap(
            self.num_texts, self._num_reference, false_alarm=self._false_alarm
        )
        return largest_gap(live, self._reference) / critical


class DriftMonitor:
    """Watches one model.

    Args:
        series: Makes the gauges.
        references: Histograms of the reference texts; kinds without any are not
            watched, nor are labels that no reference text has.
        states: Names of all states.
        labels: Names of all labels.
        by_state: Whether each state has a gauge of its own; otherwise one, named `all`,
            shows the largest.
    """

    def __init__(
        self,
        series: ModelSeries,
        references: Mapping[GateKind, TextHistograms],
        *,
        states: Sequence[str],
        labels: Sequence[str],
        by_state: bool,
    ) -> None:
        shown = states if by_state else ("all",)
        self._kinds = {
            kind: _Kind(
                series,
                kind,
                histograms,
                states=shown,
                labels=labels,
                num_kinds=len(references),
            )
            for kind, histograms in references.items()
        }

    def add(
        self, kind: GateKind, figures: NDArray[np.float64], label_index: Sequence[int]
    ) -> None:
        """Take note of some texts.

        Args:
            kind: Which gates.
            figures: `[figures, layers, texts]` float64 in [0, 1], all states.
            label_index: For each text its predicted label; 0 where it has no single
                one.
        """
        if kind in self._kinds:
            self._kinds[kind].add(figures, label_index)


class _Kind:
    # The windows of one kind of gate, and its gauges.
    def __init__(
        self,
        series: ModelSeries,
        kind: GateKind,
        histograms: TextHistograms,
        *,
        states: Sequence[str],
        labels: Sequence[str],
        num_kinds: int,
    ) -> None:
        counts = np.array([getattr(histograms, name) for name in FIGURES])
        self._edges = np.array(histograms.bin_edges)
        num_groups = counts.shape[1]
        names = labels if num_groups == len(labels) else ("any",)
        # `[figures, labels, layers, bins]`
        self._windows = {
            label: Window(counts[:, label], num_kinds=num_kinds)
            for label in range(num_groups)
            if counts[:, label].any()
        }
        self._is_pooled = num_groups == 1
        self._ratios = np.zeros((num_groups, *counts.shape[:1], counts.shape[2]))

        def gauges(by: str, values: Sequence[str]) -> list[list[Gauge]]:
            return [
                [
                    series.make(
                        Gauge,
                        f"diffmask_{by}_drift_ratio",
                        f"Shift of the {by}'s gates from the reference texts, over what"
                        " chance explains, ratio; above 1 is a shift.",
                        [("kind", kind.value), ("figure", figure), (by, value)],
                    )
                    for value in values
                ]
                for figure in FIGURES
            ]

        self._by_state = gauges("state", states)
        self._by_label = gauges("label", names)
        self._num_texts = [
            series.make(
                Gauge,
                "diffmask_drift_texts",
                "Live texts that the figures of drift rest on.",
                [("kind", kind.value), ("label", name)],
            )
            for name in names
        ]

    def add(self, figures: NDArray[np.float64], label_index: Sequence[int]) -> None:
        bins = bin_index(figures, self._edges)
        for place, label in enumerate(label_index):
            group = 0 if self._is_pooled else label
            window = self._windows.get(group)
            if window is not None and window.add(bins[:, :, place]):
                self._compare(group, window)

    def _compare(self, group: int, window: Window) -> None:
        self._ratios[group] = window.ratios()
        self._num_texts[group].set(window.num_texts)
        by_state = self._ratios.max(axis=0)  # [figures, layers]
        if len(self._by_state[0]) < by_state.shape[1]:
            by_state = by_state.max(axis=1, keepdims=True)
        _show(self._by_state, by_state)
        _show(self._by_label, self._ratios.max(axis=2).T)


def _show(gauges: Sequence[Sequence[Gauge]], values: NDArray[np.float64]) -> None:
    for row, numbers in zip(gauges, values.tolist(), strict=True):
        for gauge, number in zip(row, numbers, strict=True):
            gauge.set(number)
