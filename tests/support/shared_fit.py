"""One process's part of a fit by several; run by torch's launcher.

Arguments: the texts, the classifier's directory, where probes go, the kind of probe,
the constraint. Each process writes what it ended with beside the probes, and none
writes into another's.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from diffmask_training.config import FitConfig, from_tables
from diffmask_training.fit import Watcher, fit
from diffmask_training.sharing import Processes

SETTINGS = {
    "margin": 0.1,
    "epochs": 2,
    "epoch_steps": 0,
    "precision": "fp32",
    "batch_size": 16,
    "learning_rate": 1e-3,
    "validation_texts": 40,
}


def main(arguments: Sequence[str]) -> None:
    """Take part in a fit."""
    texts, checkpoint, probes = map(Path, arguments[:3])
    torch.set_num_threads(1)
    places = {
        "data": str(texts.parent),
        "train": texts.name,
        "checkpoint": str(checkpoint),
        "probes": str(probes),
    }
    kind, constraint = arguments[3:]
    values = {**SETTINGS, **places, "kind": kind, "constraint": constraint}
    watcher = Watcher(
        on_start=lambda *_: None,
        on_step=lambda *_: None,
        on_epoch=lambda *_: None,
        on_finish=lambda *_: None,
    )
    processes = Processes()
    fitted = fit(from_tables(FitConfig, {}, values), watcher, processes)
    ended = {
        "count": processes.count,
        "multipliers": fitted.record.multipliers,
        "probe": fitted.probe.state_dict(),
    }
    torch.save(ended, probes / f"process_{processes.index}.pt")


if __name__ == "__main__":
    main(sys.argv[1:])
