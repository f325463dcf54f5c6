"""Explained texts and finished audits, built by hand or by the tiny model."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diffmask_service.audit.report.reading import Explained
from diffmask_service.cli import main
from tests.support.audits import random_texts, write_csv

GOLD, DOMAIN, MARKS = "gold", "domain", "marks"


def explained(
    text: str,
    scores: Sequence[float],
    *,
    tokens: Sequence[tuple[int, int]] | None = None,
    **changes: Any,
) -> Explained:
    """Return a text whose tokens are its words, or lie where they are said to.

    Args:
        text: The text.
        scores: Of each token; its input gates at the only state too.
        tokens: Start and end of each.
        **changes: Other fields.
    """
    spans = tokens or [match.span() for match in re.finditer(r"\S+", text)]
    num = len(spans)
    gates = np.array([scores], dtype=np.float32)
    values: dict[str, Any] = {
        "row": 0,
        "id": "0",
        "text": text,
        "text_pair": None,
        "label": None,
        "slice": None,
        "rationale": None,
        "prediction": None,
        "probability": None,
        "probabilities": None,
        "is_truncated": False,
        "divergence": 0.0,
        "is_agreeing": True,
        "kept_share": 1.0,
        "tokens": tuple(text[start:end] for start, end in spans),
        "starts": np.array([start for start, _ in spans]),
        "ends": np.array([end for _, end in spans]),
        "segments": np.zeros(num, dtype=np.int64),
        "is_special": np.zeros(num, dtype=np.bool_),
        "scores": gates[0],
        "input_gates": gates,
        "hidden_gates": 1 - gates,
    }
    return Explained(**values | changes)


def audit_tiny(
    folder: Path, bundle: Path, *flags: object, texts: Sequence[str] = ()
) -> Path:
    """Audit texts with labels, slices and rationales; return the audit's folder."""
    texts = texts or random_texts(40)
    rows = [
        [text, str(index % 2), "xy"[index % 3 == 0], text.split()[0]]
        for index, text in enumerate(texts)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    header = ["text", GOLD, DOMAIN, MARKS]
    source = write_csv(folder / "texts.csv", [header, *rows])
    columns = zip(("label", "slice", "rationale"), (GOLD, DOMAIN, MARKS), strict=True)
    words = [f"--{kind}-column={name}" for kind, name in columns]
    words += ["--output", str(folder / "audit"), "--bundle", str(bundle)]
    words += ["--rows-per-part", "16", *map(str, flags)]
    assert main(["audit", str(source), *words]) == 0
    return folder / "audit"


def multiply(folder: Path, *, num_rows: int) -> None:
    """Replace an audit's rows by many long texts of many words and slices."""
    draws = np.random.default_rng(0)
    parts = sorted((folder / "parts").iterdir())
    template = pq.read_table(parts[0])
    words = [f"word{index}" for index in range(5000)]
    rows: list[dict[str, Any]] = []
    for row in template.to_pylist() * (num_rows // len(template) + 1):
        chosen = draws.choice(words, size=30)
        lengths = np.array([len(word) for word in chosen])
        ends = np.cumsum(lengths + 1) - 1
        gates = draws.uniform(size=(3, 30)).astype(np.float32)
        rows.append(
            row
            | {
                "row": len(rows),
                "text": " ".join(chosen),
                "tokens": chosen.tolist(),
                "token_starts": (ends - lengths).tolist(),
                "token_ends": ends.tolist(),
                "token_segments": [0] * 30,
                "token_is_special": [False] * 30,
                "slice": f"slice {len(rows) % 500}",
                "scores": gates.mean(axis=0).tolist(),
                "input_gates": gates.tolist(),
                "hidden_gates": gates.tolist(),
                "divergence": float(draws.exponential()),
            }
        )
    pq.write_table(pa.Table.from_pylist(rows[:num_rows], template.schema), parts[0])
    journal = folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    path = folder / "summary.json"
    summary = json.loads(path.read_bytes()) | {"num_rows": num_rows}
    path.write_text(json.dumps(summary))
