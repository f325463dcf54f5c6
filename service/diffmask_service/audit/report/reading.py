"""Explained texts out of the parts of an audit, a few at a time in memory."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diffmask_service.core.predictions import (
    BoolArray,
    Float32Array,
    Int64Array,
)
from diffmask_service.errors import InvalidInput

_ROWS_PER_BATCH = 256
_PLAIN = (
    "row",
    "id",
    "text",
    "text_pair",
    "label",
    "slice",
    "rationale",
    "prediction",
    "probability",
    "is_truncated",
    "divergence",
    "is_agreeing",
    "kept_share",
)
_BY_TOKEN: Mapping[str, type] = {
    "token_starts": np.int64,
    "token_ends": np.int64,
    "token_segments": np.int64,
    "token_is_special": np.bool_,
    "scores": np.float32,
}
_GATES = ("input_gates", "hidden_gates")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """A folder whose audit is finished.

    Attributes:
        path: The folder.
        summary: What its `summary.json` holds.
        parts: Files of its rows, in order.
        labels: Label names in index order.
    """

    path: Path
    summary: Mapping[str, Any]
    parts: tuple[Path, ...]
    labels: tuple[str, ...]

    @property
    def states(self) -> tuple[str, ...]:
        """Names along the `layers` axis."""
        return tuple(self.summary["states"])

    @property
    def threshold(self) -> float:
        """A token is kept when its expected gate value is at least this, in [0, 1]."""
        return float(self.summary["hard_mask_threshold"])

    @property
    def margin(self) -> float | None:
        """Divergence that the probes were fitted to stay under, nats."""
        margin = self.summary["margin"]
        return None if margin is None else float(margin)

    @property
    def is_hashed(self) -> bool:
        """Whether its parts hold digests in place of texts."""
        return bool(self.summary["hash_texts"])

    @property
    def has_classes(self) -> bool:
        """Whether each text has one label of several."""
        return str(self.summary["task"]) == "text_classification"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A text with its explanation. Arrays have the axis `[tokens]` unless they say so.

    Attributes:
        row: Its position in the input, from 0.
        id: What it is known by.
        text: The text; None where it was hashed.
        text_pair: Its pair; None where there is none or it was hashed.
        label: The true label, as written.
        slice: Its group.
        rationale: What people marked, as written.
        prediction: What the model said, where that is one name.
        probability: Of the prediction, in [0, 1], where it has one.
        probabilities: Of each label, in index order, where they make one prediction.
        is_truncated: Whether the model read its beginning only.
        divergence: Of the prediction from the kept tokens, nats, >= 0.
        is_agreeing: Whether that prediction is the same.
        kept_share: Of its tokens, by the hard mask of the score, in [0, 1].
        tokens: As the vocabulary spells them; None where the text was hashed.
        starts: `[tokens]` int64. Start in the text, code points.
        ends: `[tokens]` int64. End in the text, code points, exclusive.
        segments: `[tokens]` int64. 0 for the text, 1 for its pair.
        is_special: `[tokens]` bool. Special tokens.
        scores: `[tokens]` float32 in [0, 1]. Aggregate score.
        input_gates: `[layers, tokens]` float32 in [0, 1]; of no layer where they were
            not asked for.
        hidden_gates: `[layers, tokens]` float32 in [0, 1]; likewise.
    """

    row: int
    id: str
    text: str | None
    text_pair: str | None
    label: str | None
    slice: str | None
    rationale: str | None
    prediction: str | None
    probability: float | None
    probabilities: tuple[float, ...] | None
    is_truncated: bool
    divergence: float
    is_agreeing: bool
    kept_share: float
    tokens: tuple[str, ...] | None
    starts: Int64Array
    ends: Int64Array
    segments: Int64Array
    is_special: BoolArray
    scores: Float32Array
    input_gates: Float32Array
    hidden_gates: Float32Array


def open_audit(path: Path) -> Audit:
    """Return a finished audit.

    Args:
        path: Its folder.

    Raises:
        InvalidInput: There is none, it is not finished, or it cannot be read.
    """
    try:
        summary = json.loads((path / "summary.json").read_bytes())
        journal = (path / "journal.jsonl").read_bytes().splitlines()
        parts = tuple(path / "parts" / str(json.loads(x)["name"]) for x in journal)
        for part in parts:
            part.stat()
        metadata = pq.read_schema(parts[0]).metadata
        labels = tuple(json.loads(metadata[b"diffmask.labels"]))
    except FileNotFoundError as error:
        raise InvalidInput(
            f"{path}: holds no finished audit ({error.filename} is missing); run"
            " diffmask audit to its end first"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InvalidInput(f"{path}: cannot be read as an audit ({error})") from error
    if "task" not in summary or len(journal) == 0:
        raise InvalidInput(
            f"{path}: was written by an earlier release; run the audit's command again"
        )
    return Audit(path=path, summary=summary, parts=parts, labels=labels)


def explained_texts(audit: Audit, *, with_gates: bool = True) -> Iterator[Explained]:
    """Yield the texts of an audit that were explained, in order.

    Args:
        audit: Whose.
        with_gates: Whether to read the gates, which are most of what parts hold.

    Raises:
        InvalidInput: A part cannot be read.
    """
    gates = _GATES if with_gates else ()
    columns = (*_PLAIN, "probabilities", "tokens", *_BY_TOKEN, *gates)
    num_states = len(audit.states) if with_gates else 0
    for path in audit.parts:
        try:
            with pq.ParquetFile(path) as file:
                names = [name for name in columns if name in file.schema_arrow.names]
                for batch in file.iter_batches(_ROWS_PER_BATCH, columns=names):
                    yield from _explained(batch, num_states=num_states)
        except (OSError, pa.ArrowException) as error:
            raise InvalidInput(f"{path}: cannot be read ({error})") from error


def _explained(batch: Any, *, num_states: int) -> Iterator[Explained]:
    batch = batch.filter(batch.column("scores").is_valid())
    lengths = batch.column("scores").value_lengths().to_numpy(zero_copy_only=False)
    ends = np.cumsum(lengths, dtype=np.int64)
    plain = _plain_rows(batch)
    by_token: dict[str, Any] = {
        name: np.asarray(_flat(batch.column(name)), dtype=kind)
        for name, kind in _BY_TOKEN.items()
    }
    names = batch.schema.names
    gates: dict[str, Any] = {
        name: _flat(batch.column(name).flatten())
        if name in names
        else np.empty(0, dtype=np.float32)
        for name in _GATES
    }
    tokens = batch.column("tokens").to_pylist() if "tokens" in names else None
    for index, (row, end) in enumerate(zip(plain, ends.tolist(), strict=True)):
        start = end - int(lengths[index])
        # Copied, as a text that is kept would otherwise keep its whole batch.
        here = {name: values[start:end].copy() for name, values in by_token.items()}
        of_text = {
            name: values[num_states * start : num_states * end]
            .reshape(num_states, end - start)
            .copy()
            for name, values in gates.items()
        }
        yield Explained(
            **row,
            tokens=None if tokens is None else tuple(tokens[index]),
            starts=here["token_starts"],
            ends=here["token_ends"],
            segments=here["token_segments"],
            is_special=here["token_is_special"],
            scores=here["scores"],
            **of_text,
        )


def _plain_rows(batch: Any) -> Sequence[dict[str, Any]]:
    names = batch.schema.names
    rows: list[dict[str, Any]] = batch.select(
        [name for name in (*_PLAIN, "probabilities") if name in names]
    ).to_pylist()
    for row in rows:
        for name in (*_PLAIN, "probabilities"):
            row.setdefault(name, None)
        probabilities = row["probabilities"]
        if not isinstance(row["prediction"], str):
            row["prediction"] = row["probabilities"] = None
        elif probabilities:
            row["probabilities"] = tuple(probabilities)
            row["probability"] = max(probabilities)
    return rows


def _flat(column: Any) -> Any:
    return column.flatten().to_numpy(zero_copy_only=False)
