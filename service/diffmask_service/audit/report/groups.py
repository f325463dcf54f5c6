"""Kept share by state and fidelity, for all texts, by predicted label and by slice."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from diffmask_service.audit.report.estimates import Estimate, Mean, share
from diffmask_service.audit.report.reading import Audit, Explained
from diffmask_service.audit.summary import true_label

# Upper ends of the bins of divergences, nats; the last one is open.
DIVERGENCE_ENDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Figures of some of the texts.

    Attributes:
        name: What they have in common.
        num_texts: How many.
        kept_by_state: `[layers]`: share of a text's tokens that the hard mask of each
            state keeps, special tokens counted; mean over texts.
        kept: The same for the hard mask of the aggregate score.
        agreement: Share of texts whose prediction holds from those tokens alone.
        divergence: Of the two predictions, nats, mean over texts.
        violation: Share of texts with more divergence than the margin; None where the
            margin is not known.
        accuracy: Share of labelled texts whose prediction is the true label.
        num_labelled: How many of them have a label.
        num_foreign: How many have one that is none of the model's; it counts as wrong.
    """

    name: str
    num_texts: int
    kept_by_state: tuple[Estimate, ...]
    kept: Estimate | None
    agreement: Estimate | None
    divergence: Estimate | None
    violation: Estimate | None
    accuracy: Estimate | None
    num_labelled: int
    num_foreign: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Figures of all texts and of their groups.

    Attributes:
        all: Of all that were explained.
        by_label: By predicted label.
        by_slice: By slice.
        divergences: Texts in each bin of `DIVERGENCE_ENDS`.
    """

    all: Group
    by_label: tuple[Group, ...]
    by_slice: tuple[Group, ...]
    divergences: tuple[int, ...]


@dataclass(slots=True)
class _Sums:
    kept_by_state: Mean = field(default_factory=Mean)
    kept: Mean = field(default_factory=Mean)
    divergence: Mean = field(default_factory=Mean)
    num_agreeing: int = 0
    num_violating: int = 0
    num_labelled: int = 0
    num_correct: int = 0
    num_foreign: int = 0

    def figures(self, name: str, *, has_margin: bool) -> Group:
        num = self.kept.num
        return Group(
            name=name,
            num_texts=num,
            kept_by_state=self.kept_by_state.estimates(low=0, high=1),
            kept=self.kept.estimate(low=0, high=1),
            agreement=share(self.num_agreeing, num),
            divergence=self.divergence.estimate(low=0),
            violation=share(self.num_violating, num) if has_margin else None,
            accuracy=share(self.num_correct, self.num_labelled),
            num_labelled=self.num_labelled,
            num_foreign=self.num_foreign,
        )


class GroupCollector:
    """Collects the figures of groups.

    Args:
        audit: Whose texts they are.
    """

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._all = _Sums()
        self._by_label: dict[str, _Sums] = {}
        self._by_slice: dict[str, _Sums] = {}
        self._divergences = np.zeros(len(DIVERGENCE_ENDS) + 1, dtype=np.int64)

    def add(self, text: Explained) -> None:
        """Count one text."""
        self._add(self._all, text)
        if self._audit.has_classes and text.prediction is not None:
            self._add(self._by_label.setdefault(text.prediction, _Sums()), text)
        if text.slice is not None:
            self._add(self._by_slice.setdefault(text.slice, _Sums()), text)
        place = np.searchsorted(DIVERGENCE_ENDS, text.divergence, side="right")
        self._divergences[place] += 1

    def figures(self) -> Groups:
        """Return what was collected."""
        has_margin = self._audit.margin is not None

        def of(sums: Mapping[str, _Sums]) -> tuple[Group, ...]:
            return tuple(
                sums[name].figures(name, has_margin=has_margin) for name in sorted(sums)
            )

        return Groups(
            all=self._all.figures("all texts", has_margin=has_margin),
            by_label=of(self._by_label),
            by_slice=of(self._by_slice),
            divergences=tuple(self._divergences.tolist()),
        )

    def _add(self, sums: _Sums, text: Explained) -> None:
        audit = self._audit
        kept = text.input_gates >= np.float32(audit.threshold)
        sums.kept_by_state.add(kept.mean(axis=1))
        sums.kept.add(text.kept_share)
        sums.divergence.add(text.divergence)
        sums.num_agreeing += text.is_agreeing
        sums.num_violating += audit.margin is not None and (
            text.divergence > audit.margin
        )
        if audit.has_classes and text.label is not None:
            truth = true_label(text.label, audit.labels)
            sums.num_labelled += 1
            sums.num_correct += text.prediction == truth
            sums.num_foreign += truth not in audit.labels
