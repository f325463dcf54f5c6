"""A fit whose process the kernel kills in the midst of writing its second checkpoint.

Arguments: the texts, the classifier's directory, where probes go. The settings are
those of the test that runs it.
"""

import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from diffmask_training.config import FitConfig
from diffmask_training.fit import Watcher, fit


def _limit(epoch: int, *_: object) -> None:
    if epoch == 1:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def main(arguments: Sequence[str]) -> None:
    """Fit until killed."""
    texts, checkpoint, probes = map(Path, arguments)
    torch.set_num_threads(1)
    config = FitConfig(
        epoch_steps=0,
        data=texts.parent,
        train=Path(texts.name),
        checkpoint=checkpoint,
        probes=probes,
        epochs=3,
        batch_size=48,
        learning_rate=1e-2,
    )
    watcher = Watcher(
        on_start=lambda *_: None,
        on_step=lambda *_: None,
        on_epoch=_limit,
        on_finish=lambda *_: None,
    )
    fit(config, watcher)


if __name__ == "__main__":
    main(sys.argv[1:])
