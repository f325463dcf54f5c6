"""Fit one probe: data in, epochs with validation, the best probe out."""

import csv
import dataclasses
import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diffmask_training.batches import Encoding, sorted_batches
from diffmask_training.checkpoint import (
    FitRecord,
    FittedProbe,
    load_resume,
    plain_state,
    save_probe,
    save_resume,
)
from diffmask_training.classifier import load_classifier
from diffmask_training.config import FitConfig
from diffmask_training.encoding import encode
from diffmask_training.errors import CheckpointError
from diffmask_training.figures import Figures, StateFigures
from diffmask_training.probes import Probe, ProbeShape
from diffmask_training.splits import read_splits
from diffmask_training.trainer import StepFigures, Trainer

_STATISTICS_TEXTS = 512
# A state that keeps less than this share of its tokens, or drops less, says nothing.
_COLLAPSED_SHARE = 0.005


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Best:
    """The best epoch so far.

    Attributes:
        epoch: Counted from 1.
        is_feasible: Whether every state kept within the limit.
        is_collapsed: Whether some state keeps or drops hardly a token.
        cost: What epochs are ranked by; smaller is better.
        multipliers: Of each state at its end.
        state: The probe's tensors.
    """

    epoch: int
    is_feasible: bool
    is_collapsed: bool
    cost: float
    multipliers: tuple[float, ...]
    state: dict[str, torch.Tensor]

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Sort key: sound first, then feasible, then cheapest."""
        return (self.is_collapsed, not self.is_feasible, self.cost)


def fit(config: FitConfig, watcher: Watcher) -> FittedProbe:
    """Fit the probe of one kind and write it under `config.probes`.

    Args:
        config: What to fit and how.
        watcher: Told of every step and epoch.

    Returns:
        The probe of the best epoch: feasible first, then sparsest.

    Raises:
        DataError: A data file is missing or malformed.
        CheckpointError: The classifier cannot be used, or a resumed fit does not match.
    """
    started = time.perf_counter()
    directory = config.probes / config.kind
    trainer, texts = _prepare(config)
    kept = load_resume(directory, trainer) if config.resume else None
    best = None if kept is None else _Best(**kept["best"])
    seconds_before = 0.0 if kept is None else float(kept["seconds"])
    watcher.on_start(
        trainer.encoder.states, math.ceil(len(texts.train) / config.batch_size)
    )
    while trainer.epoch < config.epochs:
        for figures in trainer.train_epoch(texts.train):
            watcher.on_step(figures)
        validated = trainer.validate(texts.validation)
        trainer.pacing.update(validated)
        candidate = _assess(trainer, validated)
        if best is None or candidate.rank <= best.rank:
            best = candidate
        _log(directory / "log.csv", trainer.epoch, validated, candidate.multipliers)
        seconds = seconds_before + time.perf_counter() - started
        progress = {"best": dataclasses.asdict(best), "seconds": seconds}
        save_resume(directory, trainer, progress)
        watcher.on_epoch(trainer.epoch, validated, candidate.multipliers)
    if best is None:
        raise CheckpointError(f"{directory}: the resumed fit has no epoch; delete it")
    best = _calibrated(trainer, best, texts.validation, watcher)
    seconds = seconds_before + time.perf_counter() - started
    fitted = _finished(trainer, best, seconds)
    save_probe(directory, fitted)
    return fitted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Texts:
    """Encoded texts of a fit.

    Attributes:
        train: Texts that the probe is fitted on.
        validation: Texts that decide among epochs.
    """

    train: list[Encoding]
    validation: list[Encoding]


def _prepare(config: FitConfig) -> tuple[Trainer, _Texts]:
    classifier = load_classifier(config.checkpoint)
    encoder, tokenizer = classifier.encoder, classifier.tokenizer
    task, limit = encoder.task, config.max_train_tokens
    splits = read_splits(config, classifier.labels, task=task.name)
    train = encode(splits.train, tokenizer, limit, task=task)
    validation = encode(splits.validation, tokenizer, limit, task=task)
    some = sorted_batches(
        train[:_STATISTICS_TEXTS], batch_size=64, pad_id=tokenizer.pad_token_id
    )
    encoder.measure(batch.inputs for batch in some)
    if config.validation_texts:
        generator = torch.Generator().manual_seed(config.split_seed)
        order = torch.randperm(len(validation), generator=generator).tolist()
        validation = [validation[index] for index in order[: config.validation_texts]]
    torch.manual_seed(config.seed)
    probe = Probe(
        ProbeShape(
            kind=config.kind,
            num_states=encoder.num_states,
            hidden_size=encoder.hidden_size,
            embedding_size=encoder.embedding_size,
            bottleneck_size=config.bottleneck_size or encoder.hidden_size // 4,
            initial_bias=config.initial_bias,
        )
    )
    trainer = Trainer(
        config,
        encoder,
        probe,
        pad_id=tokenizer.pad_token_id,
        total_steps=math.ceil(len(train) / config.batch_size) * config.epochs,
    )
    trainer.initialise(train[:_STATISTICS_TEXTS], tokenizer.mask_token_id)
    return trainer, _Texts(train=train, validation=validation)


def _calibrated(
    trainer: Trainer, best: _Best, validation: Sequence[Encoding], watcher: Watcher
) -> _Best:
    # Calibration can turn the tables: a last epoch that strays a little further but
    # ranks its tokens better ends up the sparser one.
    candidates = {best.epoch: best}
    last = dataclasses.replace(
        best,
        epoch=trainer.epoch,
        multipliers=tuple(trainer.multipliers.values),
        state=plain_state(trainer.probe),
    )
    candidates.setdefault(last.epoch, last)
    calibrated = []
    for candidate in candidates.values():
        trainer.probe.load_state_dict(candidate.state)
        trainer.calibrate(validation)
        figures = trainer.validate(validation)
        watcher.on_finish(candidate.epoch, figures, candidate.multipliers)
        calibrated.append(
            dataclasses.replace(
                _assess(trainer, figures),
                epoch=candidate.epoch,
                multipliers=candidate.multipliers,
            )
        )
    # As it was, it may still be the better one: closing can go too far.
    return min([*calibrated, best], key=lambda candidate: candidate.rank)


def _finished(trainer: Trainer, best: _Best, seconds: float) -> FittedProbe:
    trainer.probe.load_state_dict(best.state)
    settings = dataclasses.asdict(trainer.config)
    return FittedProbe(
        probe=trainer.probe.train(mode=False),
        record=FitRecord(
            is_feasible=best.is_feasible,
            is_collapsed=best.is_collapsed,
            epoch=best.epoch,
            multipliers=best.multipliers,
            fit_seconds=seconds,
            seconds_by_stage=dict(trainer.seconds_by_stage),
            processor=f"{processor_name()}, {torch.get_num_threads()} threads",
            config={
                name: str(value) if isinstance(value, Path) else value
                for name, value in settings.items()
            },
            value=trainer.encoder.task.value,
        ),
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


def _assess(trainer: Trainer, figures: Figures) -> _Best:
    config = trainer.config
    limit = trainer.constraint.limit
    is_mean = trainer.constraint.kind == "mean"
    breaks = [s.divergence if is_mean else s.excess for s in figures.states]
    worst = max(value / limit if limit else math.inf for value in breaks)
    is_feasible = worst <= 1 + config.tolerance
    kept = [state.kept_share for state in figures.states]
    return _Best(
        epoch=trainer.epoch,
        is_feasible=is_feasible,
        is_collapsed=min(kept) < _COLLAPSED_SHARE or min(kept) > 1 - _COLLAPSED_SHARE,
        cost=figures.mean("kept_share") if is_feasible else worst,
        multipliers=tuple(trainer.multipliers.values),
        state=plain_state(trainer.probe),
    )


def _log(
    path: Path, epoch: int, figures: Figures, multipliers: Sequence[float]
) -> None:
    is_new = epoch == 1 or not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w" if is_new else "a", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        if is_new:
            writer.writerow(["epoch", *_row(figures.states[0]), "multiplier"])
        for state, multiplier in zip(figures.states, multipliers, strict=True):
            writer.writerow([epoch, *_row(state).values(), multiplier])


def _row(state: StateFigures) -> dict[str, Any]:
    # The task's own figures have a column each.
    row: dict[str, Any] = dataclasses.asdict(state)
    scores: dict[str, float] = row.pop("scores")
    return row | scores
