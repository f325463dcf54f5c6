"""An audit of the benchmark is a whole one, in a process of its own."""

import json
from pathlib import Path

from benchmarks.audit_memory import audit
from tests.support.tiny import write_tiny_bundle


def test_every_row_is_explained(tmp_path: Path) -> None:
    # Among so many rows are texts with more tokens than the model takes.
    write_tiny_bundle(tmp_path / "bundle")
    figures = audit(tmp_path, rows=40)
    summary = json.loads((tmp_path / "audit-40" / "summary.json").read_bytes())
    assert (summary["num_rows"], summary["num_errors"]) == (40, 0)
    # A Python process with the libraries of the service holds tens of MiB.
    assert 20 < figures["mib"] < 4096
