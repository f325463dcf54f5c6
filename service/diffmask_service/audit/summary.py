"""The figures of an audit, read back from its parts a few rows at a time."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from diffmask_service.audit.quantiles import exact_quantiles
from diffmask_service.core.predictions import Float32Array
from diffmask_service.core.values import ModelDescription, Task

FORMAT = 2
_SHARES = (0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_ROWS_PER_BATCH = 4096
_COLUMNS = (
    "label",
    "slice",
    "prediction",
    "kept_share_by_state",
    "divergence",
    "is_agreeing",
    "kept_share",
    "is_truncated",
    "error_kind",
)


@dataclass(slots=True, kw_only=True)
class _Group:
    """Sums over some of the texts."""

    kept_by_state: np.ndarray[Any, np.dtype[np.float64]]
    num_texts: int = 0
    num_agreeing: int = 0
    num_violating: int = 0
    num_labelled: int = 0
    num_correct: int = 0
    num_truncated: int = 0
    divergence: float = 0.0
    kept: float = 0.0

    def add(self, row: Mapping[str, Any], *, margin: float | None, label: Any) -> None:
        self.num_texts += 1
        self.num_agreeing += row["is_agreeing"]
        self.num_truncated += row["is_truncated"]
        self.num_violating += margin is not None and row["divergence"] > margin
        self.divergence += row["divergence"]
        self.kept += row["kept_share"]
        self.kept_by_state += row["kept_share_by_state"]
        if label is not None:
            self.num_labelled += 1
            self.num_correct += row["prediction"] == label

    def figures(self, states: Sequence[str], *, margin: float | None) -> dict[str, Any]:
        def mean(total: float, count: int) -> float | None:
            return total / count if count else None

        num = self.num_texts
        return {
            "num_texts": num,
            "num_truncated": self.num_truncated,
            "agreement": mean(self.num_agreeing, num),
            "mean_divergence": mean(self.divergence, num),
            "violation_rate": None if margin is None else mean(self.num_violating, num),
            "kept_share": mean(self.kept, num),
            "kept_share_by_state": {
                state: mean(float(total), num)
                for state, total in zip(states, self.kept_by_state, strict=True)
            },
            "num_labelled": self.num_labelled,
            "accuracy": mean(self.num_correct, self.num_labelled),
        }


@dataclass(slots=True, kw_only=True)
class _Tally:
    """Sums over an audit, whole and by group."""

    num_states: int
    groups: dict[tuple[str, str], _Group] = field(default_factory=dict)
    num_rows: int = 0
    num_errors_by_kind: dict[str, int] = field(default_factory=dict)

    def group(self, kind: str, name: str) -> _Group:
        key = (kind, name)
        if key not in self.groups:
            self.groups[key] = _Group(kept_by_state=np.zeros(self.num_states))
        return self.groups[key]


def summarise(parts: Sequence[Path], model: ModelDescription) -> dict[str, Any]:
    """Return the figures of an audit, as JSON values.

    Kept shares are means over texts of the share of a text's tokens, special tokens
    counted. The label is the predicted one.

    Args:
        parts: The files, in order.
        model: Who answered.
    """
    margin = _margin(model)
    tally = _Tally(num_states=len(model.states))
    tally.group("all", "")
    for row in _rows(parts):
        tally.num_rows += 1
        if row["error_kind"] is not None:
            counts = tally.num_errors_by_kind
            counts[row["error_kind"]] = counts.get(row["error_kind"], 0) + 1
            continue
        label = (
            true_label(row["label"], model.labels)
            if model.task is Task.TEXT_CLASSIFICATION
            else None
        )
        keys = [("all", "")]
        if model.task is Task.TEXT_CLASSIFICATION:
            keys.append(("label", row["prediction"]))
        if row["slice"] is not None:
            keys.append(("slice", row["slice"]))
        for kind, name in keys:
            tally.group(kind, name).add(row, margin=margin, label=label)

    def figures(kind: str) -> dict[str, Any]:
        return {
            name: group.figures(model.states, margin=margin)
            for (of, name), group in sorted(tally.groups.items())
            if of == kind
        }

    found = exact_quantiles(lambda: _divergences(parts), _SHARES)
    return {
        "task": model.task.value,
        "num_rows": tally.num_rows,
        "num_errors": sum(tally.num_errors_by_kind.values()),
        "num_errors_by_kind": dict(sorted(tally.num_errors_by_kind.items())),
        "margin": margin,
        "hard_mask_threshold": model.hard_mask_threshold,
        "states": list(model.states),
        "all": figures("all")[""],
        "divergence_quantiles": {
            f"{share:g}": value for share, value in zip(_SHARES, found, strict=False)
        },
        "by_label": figures("label"),
        "by_slice": figures("slice"),
    }


def _rows(parts: Sequence[Path]) -> Iterator[Mapping[str, Any]]:
    for path in parts:
        with pq.ParquetFile(path) as file:
            present = [name for name in _COLUMNS if name in file.schema_arrow.names]
            for batch in file.iter_batches(_ROWS_PER_BATCH, columns=present):
                yield from batch.to_pylist()


def _divergences(parts: Sequence[Path]) -> Iterator[Float32Array]:
    for path in parts:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS_PER_BATCH, columns=["divergence"]):
                yield batch.column(0).drop_null().to_numpy()


def true_label(label: str | None, labels: Sequence[str]) -> str | None:
    """Return the name of a label that may be written as an index.

    Args:
        label: As the input has it; None for none. A column of numbers of which some
            are missing writes 1 as `1.0`.
        labels: Label names in index order.
    """
    if label is None or label in labels:
        return label
    whole = label.removesuffix(".0")
    index = int(whole) if whole.isdecimal() else len(labels)
    return labels[index] if index < len(labels) else label


def _margin(model: ModelDescription) -> float | None:
    try:
        return float(json.loads(model.manifest_json)["probes"]["input"]["margin"])
    except (KeyError, TypeError, ValueError):
        return None
