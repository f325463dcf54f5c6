"""What experiments on a treebank read: a few trees, and probes that nobody fitted."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import torch

from diffmask_training.checkpoint import FitRecord, FittedProbe, save_probe
from diffmask_training.classifier import Classifier
from diffmask_training.probes import Probe, ProbeKind, ProbeShape


def write_trees(data: Path, label_by_word: dict[str, int]) -> None:
    """Write a development set of one sentence for each word, `WORD film .`.

    Args:
        data: Folder that an experiment reads.
        label_by_word: Sentiments from 0 to 4.
    """
    trees = data / "sst" / "trees"
    trees.mkdir(parents=True)
    lines = "\n".join(
        f"({label} ({label} {word}) (2 (2 film) (2 .)))"
        for word, label in label_by_word.items()
    )
    (trees / "dev.txt.gz").write_bytes(gzip.compress(lines.encode()))


def write_probes(
    directory: Path,
    classifier: Classifier,
    *,
    kinds: Sequence[ProbeKind] = ("input", "hidden"),
    seed: int = 0,
    fitted_on: str = "",
) -> Path:
    """Write untrained probes as a fit does; return their folder.

    Args:
        directory: Where to.
        classifier: That they have the sizes of.
        kinds: Which probes.
        seed: Of their weights.
        fitted_on: Digest of the classifier that their records name; empty for none.
    """
    torch.manual_seed(seed)
    record = FitRecord(
        is_feasible=True,
        is_collapsed=False,
        epochs=(),
        multipliers=(),
        fit_seconds=0.0,
        seconds_by_stage={},
        processor="",
        config={},
        classifier=fitted_on,
    )
    for kind in kinds:
        shape = ProbeShape(
            kind=kind,
            num_states=classifier.encoder.num_states,
            hidden_size=classifier.encoder.hidden_size,
            bottleneck_size=4,
        )
        save_probe(directory / kind, FittedProbe(probe=Probe(shape), record=record))
    return directory
