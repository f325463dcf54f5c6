"""Fit one probe: epochs with validation, the best probe calibrated and judged."""

import dataclasses
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from diffmask_training.checkpoint import (
    FitRecord,
    FittedProbe,
    forget_resume,
    load_resume,
    save_probe,
    save_resume,
)
from diffmask_training.config import FitConfig
from diffmask_training.duality import StepFigures
from diffmask_training.errors import CheckpointError
from diffmask_training.figures import Figures
from diffmask_training.fit_log import rows_of, write_log
from diffmask_training.preparation import Prepared, prepare
from diffmask_training.probes import plain_state
from diffmask_training.selection import Candidate, assess, best_of
from diffmask_training.sharing import Processes
from diffmask_training.trainer import Trainer
from diffmask_training.verdict import Verdict, judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """What a fit tells whoever watches it.

    Attributes:
        on_start: Called with the names of the states and the number of steps.
        on_step: Called with the figures of each step.
        on_epoch: Called with the epoch, its validation and the multipliers.
        on_finish: Called with an epoch, its validation once calibrated, and its
            multipliers; for each epoch that was calibrated.
    """

    on_start: Callable[[Sequence[str], int], None]
    on_step: Callable[[Sequence[StepFigures]], None]
    on_epoch: Callable[[int, Figures, Sequence[float]], None]
    on_finish: Callable[[int, Figures, Sequence[float]], None]


def _nothing(*_: object) -> None:
    pass


SILENT = Watcher(
    on_start=_nothing, on_step=_nothing, on_epoch=_nothing, on_finish=_nothing
)


@dataclass(slots=True, kw_only=True)
class _Progress:
    """What a fit has come to, beside its trainer.

    Attributes:
        best: The best epoch so far, the last of equals; None before the first.
        improved_epoch: The last epoch that was better than all before it.
        rows: Of the log.
        seconds: Wall-clock time up to the last checkpoint.
    """

    best: Candidate | None = None
    improved_epoch: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        best = None if self.best is None else dataclasses.asdict(self.best)
        return {
            "best": best,
            "improved_epoch": self.improved_epoch,
            "rows": self.rows,
            "seconds": self.seconds,
        }

    def consider(self, candidate: Candidate) -> None:
        """Keep a candidate, or those of its states, that are as good or better."""
        best = candidate if self.best is None else best_of(self.best, candidate)
        if self.best is None or best.rank < self.best.rank:
            self.improved_epoch = max(candidate.epochs)
        self.best = best

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.best = None if state["best"] is None else Candidate(**state["best"])
        self.improved_epoch = state["improved_epoch"]
        self.rows, self.seconds = state["rows"], state["seconds"]


def fit(
    config: FitConfig, watcher: Watcher, processes: Processes | None = None
) -> FittedProbe:
    """Fit the probe of one kind and write it under `config.probes`.

    Args:
        config: What to fit and how.
        watcher: Told of every step and epoch.
        processes: Who takes part; whoever `accelerate launch` started when None.

    Returns:
        The probe of the best epoch: feasible first, then sparsest.

    Raises:
        DataError: A data file is missing or malformed.
        CheckpointError: The classifier cannot be used, or a resumed fit does not match.
        OutputError: Something cannot be written.
        NonFiniteError: The loss or a gradient is not finite.
    """
    started = time.perf_counter()
    processes = Processes() if processes is None else processes
    prepared = prepare(config, processes)
    directory = config.probes / config.kind
    progress = _Progress()
    if config.resume:
        kept = load_resume(directory, prepared.trainer, identity=prepared.identity)
        if kept is not None:
            progress.load_state_dict(kept)
    elif processes.is_main:
        forget_resume(directory)
    seconds_before = progress.seconds
    _run_epochs(prepared, progress, watcher, since=started - seconds_before)
    if progress.best is None:
        raise CheckpointError(f"{directory}: the resumed fit has no epoch; delete it")
    fitted = _finished(prepared, progress.best, watcher, started - seconds_before)
    if processes.is_main:
        write_log(directory, progress.rows)
        save_probe(directory, fitted)
    processes.wait()
    return fitted


def _run_epochs(
    prepared: Prepared, progress: _Progress, watcher: Watcher, *, since: float
) -> None:
    trainer, texts = prepared.trainer, prepared.texts
    config, processes = trainer.config, trainer.processes
    directory = config.probes / config.kind
    num_steps = config.steps_an_epoch(len(texts.train))
    watcher.on_start(trainer.encoder.states, num_steps)
    while not _is_over(trainer, progress):
        for shown in trainer.train_epoch(texts.train):
            watcher.on_step(shown)
        figures = trainer.examiner.validate(texts.validation)
        if config.pacing:
            trainer.pacing.update(figures)
        candidate = assess(trainer, figures)
        progress.consider(candidate)
        progress.rows += rows_of(trainer.epoch, figures, candidate.multipliers)
        progress.seconds = time.perf_counter() - since
        if processes.is_main:
            state = progress.state_dict()
            save_resume(directory, trainer, state, identity=prepared.identity)
            write_log(directory, progress.rows)
        processes.wait()
        watcher.on_epoch(trainer.epoch, figures, candidate.multipliers)


def _is_over(trainer: Trainer, progress: _Progress) -> bool:
    config, best = trainer.config, progress.best
    if trainer.epoch >= config.epochs:
        return True
    waited = trainer.epoch - progress.improved_epoch
    if 0 < config.patience <= waited:
        return True
    # Gates that are all open stand still too, before they begin to close; and a pass
    # over few texts is too short to tell.
    is_sound = best is not None and best.is_feasible and not best.is_collapsed
    return config.epoch_steps > 0 and is_sound and trainer.pacing.has_settled


def _finished(
    prepared: Prepared, best: Candidate, watcher: Watcher, since: float
) -> FittedProbe:
    trainer = prepared.trainer
    if trainer.config.calibrate:
        best = _calibrated(prepared, best, watcher)
    trainer.probe.load_state_dict(best.state)
    verdict = _judged(prepared, best)
    return FittedProbe(
        probe=trainer.probe.train(mode=False),
        record=FitRecord(
            is_feasible=best.is_feasible,
            is_collapsed=best.is_collapsed,
            epochs=best.epochs,
            multipliers=best.multipliers,
            fit_seconds=time.perf_counter() - since,
            seconds_by_stage=trainer.stopwatch.state_dict(),
            processor=_processor(),
            config={
                name: str(value) if isinstance(value, Path) else value
                for name, value in dataclasses.asdict(trainer.config).items()
            },
            verdict=verdict,
            value=trainer.encoder.task.value,
            classifier=prepared.identity["classifier"],
        ),
    )


def _calibrated(prepared: Prepared, best: Candidate, watcher: Watcher) -> Candidate:
    # Calibration can turn the tables: a last epoch that strays a little further but
    # ranks its tokens better ends up the sparser one.
    trainer, validation = prepared.trainer, prepared.texts.validation
    last = dataclasses.replace(
        best,
        epochs=(trainer.epoch,) * len(best.epochs),
        multipliers=tuple(trainer.multipliers.values),
        state=plain_state(trainer.probe),
    )
    # As it was, the best one may still be the better: closing can go too far.
    calibrated = [best]
    for candidate in [best] if best.epochs == last.epochs else [best, last]:
        trainer.probe.load_state_dict(candidate.state)
        trainer.examiner.calibrate(validation, candidate.multipliers)
        figures = trainer.examiner.validate(validation)
        watcher.on_finish(max(candidate.epochs), figures, candidate.multipliers)
        calibrated.append(
            dataclasses.replace(
                assess(trainer, figures),
                epochs=candidate.epochs,
                multipliers=candidate.multipliers,
            )
        )
    return best_of(*calibrated)


def _judged(prepared: Prepared, chosen: Candidate) -> Verdict:
    trainer, validation = prepared.trainer, prepared.texts.validation
    return judge(
        trainer.examiner.validate(validation),
        trainer.config,
        multipliers=chosen.multipliers,
        output_entropy=prepared.outputs.entropy,
        complement_agreement=trainer.examiner.complement_agreement(validation),
    )


def processor_name() -> str:
    """Return the processor's name as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _processor() -> str:
    threads = torch.get_num_threads()
    return f"{processor_name()}, {threads} thread{'s' if threads > 1 else ''}"
