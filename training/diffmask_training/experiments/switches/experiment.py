"""One short fit for each choice that is turned, on the same classifier."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from diffmask_training.classifier import load_classifier
from diffmask_training.config import FitConfig
from diffmask_training.errors import ConfigError
from diffmask_training.experiments.results import (
    digests,
    one_thread,
    run_units,
    trial_name,
)
from diffmask_training.experiments.sentiment.treebank import (
    held_out_texts,
    treebank_files,
)
from diffmask_training.experiments.switches.variants import AS_IS, VARIANTS, Variant
from diffmask_training.figures import Figures
from diffmask_training.preparation import prepare
from diffmask_training.probes import ProbeKind
from diffmask_training.sharing import Processes
from diffmask_training.trainer import Trainer


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchesExperiment:
    """Turn one choice in the making of a probe at a time.

    Attributes:
        checkpoint: Directory of the fine-tuned classifier of two labels.
        data: Folder with `sst/trees/{train,dev,test}.txt.gz`.
        to: Folder of the results; a fit that is finished there is not run again.
        trial: Name of a trial of other settings, which goes to a file of its own.
        switches: What is turned; all that there is when empty.
        kinds: Which probes are fitted.
        seeds: Fits of each.
        epochs: Of each fit.
        epoch_steps: Steps of each epoch; 0 for one pass over all texts.
        validation_texts: After each epoch; 0 for all.
    """

    checkpoint: Path = Path("runs/checkpoint")
    data: Path = Path("data")
    to: Path = Path("docs/results")
    trial: str = ""
    switches: tuple[str, ...] = ()
    kinds: tuple[ProbeKind, ...] = ("input", "hidden")
    seeds: int = 2
    epochs: int = 3
    epoch_steps: int = 200
    validation_texts: int = 300


def run_switches(experiment: SwitchesExperiment) -> None:
    """Run what is not finished yet.

    Raises:
        ConfigError: There is no such switch.
        CheckpointError: The classifier cannot be used.
        DataError: The treebank is not there.
    """
    unknown = set(experiment.switches) - set(VARIANTS)
    if unknown:
        raise ConfigError(
            f"no switch {', '.join(sorted(unknown))}; use {', '.join(VARIANTS)}"
        )
    # What is turned is held against what is not.
    names = dict.fromkeys((AS_IS, *(experiment.switches or VARIANTS)))
    units: dict[str, Callable[[], Mapping[str, Any]]] = {
        f"{kind}, {name}, seed {seed}": partial(
            _fit, experiment, name, kind=kind, seed=seed
        )
        for seed in range(experiment.seeds)
        for kind in experiment.kinds
        for name in names
        if kind in VARIANTS[name].kinds
    }
    settings = {
        "weights": digests([experiment.checkpoint / "model.safetensors"]),
        **{
            name: getattr(experiment, name)
            for name in ("epochs", "epoch_steps", "validation_texts")
        },
    }
    with one_thread():
        run_units(
            trial_name("switches", experiment.trial),
            settings,
            units,
            directory=experiment.to,
        )


def _fit(
    experiment: SwitchesExperiment, name: str, *, kind: ProbeKind, seed: int
) -> Mapping[str, Any]:
    variant = VARIANTS[name]
    config = FitConfig(
        **treebank_files(experiment.data),
        checkpoint=experiment.checkpoint,
        kind=kind,
        seed=seed,
        epochs=experiment.epochs,
        epoch_steps=experiment.epoch_steps,
        validation_texts=experiment.validation_texts,
    )
    prepared = prepare(config, Processes(), variant.parts)
    trainer, texts = prepared.trainer, prepared.texts
    for _ in range(config.epochs):
        _fix_state(trainer, variant)
        list(trainer.train_epoch(texts.train))
        trainer.pacing.update(trainer.examiner.validate(texts.validation))
    tests = held_out_texts(load_classifier(experiment.checkpoint), config)
    figures = trainer.examiner.validate(tests)
    return {
        "switch": name,
        "kind": kind,
        "seed": seed,
        "margin": trainer.config.margin,
        "accuracy": figures.accuracy,
        "states": _states(figures, _fixed_state(trainer, variant)),
    }


def _fix_state(trainer: Trainer, variant: Variant) -> None:
    fixed = _fixed_state(trainer, variant)
    if fixed is not None:
        weights = [0.0] * trainer.encoder.num_states
        weights[fixed] = 1.0
        trainer.pacing.weights = weights


def _fixed_state(trainer: Trainer, variant: Variant) -> int | None:
    return trainer.encoder.num_states // 2 if variant.has_fixed_state else None


def _states(figures: Figures, fixed: int | None) -> list[dict[str, Any]]:
    return [
        {
            "state": state.state,
            "kept_share": state.kept_share,
            "agreement": state.agreement,
            "divergence": state.divergence,
        }
        for index, state in enumerate(figures.states)
        if fixed in {None, index}
    ]
