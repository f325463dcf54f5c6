"""Fits with nothing but the defaults: families, seeds, and how each of them ended."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from diffmask_training.classifier import load_classifier
from diffmask_training.config import FinetuneConfig, FitConfig
from diffmask_training.errors import ConfigError
from diffmask_training.evaluation import evaluate_probe
from diffmask_training.experiments.convergence.small_models import (
    FAMILIES,
    write_small_model,
)
from diffmask_training.experiments.results import run_units, trial_name
from diffmask_training.experiments.sentiment.treebank import (
    held_out_texts,
    treebank_files,
)
from diffmask_training.finetune import finetune
from diffmask_training.fit import SILENT, fit
from diffmask_training.probes import ProbeKind
from diffmask_training.records import Columns, read_records

_LABELS = ("negative", "positive")
_REAL = "bert"
_DEFAULTS = FitConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvergenceExperiment:
    """Fit probes with the default settings on encoders of several families.

    Attributes:
        data: Folder with `sst/trees/{train,dev,test}.txt.gz`.
        to: Folder of the results; a fit that is finished there is not run again.
        models: Folder that models and probes are written to.
        checkpoint: A fine-tuned BERT of two labels; without one, only the families that
            are trained from scratch are run.
        families: Which are trained from scratch.
        kinds: Which probes are fitted.
        seeds: Fits of each kind on each classifier.
        trial: Name of a trial of other settings, which goes to a file of its own.
        num_layers: Blocks of a model that is trained from scratch.
        hidden_size: Width of its states.
        vocabulary_size: Most tokens of its vocabulary.
        epochs: Passes over all labelled phrases when it is trained.
        epoch_steps: Steps of each epoch of a fit; a trial may have fewer.
    """

    data: Path = Path()
    to: Path = Path("docs/results")
    models: Path = Path("runs/convergence")
    checkpoint: Path | None = None
    families: tuple[str, ...] = FAMILIES
    kinds: tuple[ProbeKind, ...] = ("input", "hidden")
    seeds: int = 5
    trial: str = ""
    num_layers: int = 4
    hidden_size: int = 128
    vocabulary_size: int = 8000
    epochs: float = 2.0
    epoch_steps: int = _DEFAULTS.epoch_steps


def run_convergence(experiment: ConvergenceExperiment) -> None:
    """Run what is not finished yet.

    Raises:
        ConfigError: A family is not one of those that can be trained from scratch, or
            the folder of models holds one of other sizes.
    """
    unknown = set(experiment.families) - set(FAMILIES)
    if unknown:
        raise ConfigError(
            f"unknown families {', '.join(sorted(unknown))}; use {', '.join(FAMILIES)}"
        )
    name = trial_name("convergence", experiment.trial)
    families = list(experiment.families)
    if experiment.checkpoint is not None:
        families.insert(0, _REAL)
    units: dict[str, Callable[[], Mapping[str, Any]]] = {
        f"{family}, {kind}, seed {seed}": partial(
            _fit, experiment, family, kind=kind, seed=seed
        )
        for seed in range(experiment.seeds)
        for family in families
        for kind in experiment.kinds
    }
    settings = {
        field: getattr(experiment, field)
        for field in (
            "num_layers",
            "hidden_size",
            "vocabulary_size",
            "epochs",
            "epoch_steps",
        )
    }
    run_units(name, settings, units, directory=experiment.to)


def _fit(
    experiment: ConvergenceExperiment, family: str, *, kind: ProbeKind, seed: int
) -> Mapping[str, Any]:
    checkpoint = _classifier(experiment, family)
    probes = experiment.models / f"{family}-probes-{seed}"
    where = treebank_files(experiment.data)
    config = FitConfig(
        **where,
        checkpoint=checkpoint,
        probes=probes,
        kind=kind,
        seed=seed,
        epoch_steps=experiment.epoch_steps,
        resume=True,
    )
    fitted = fit(config, SILENT)
    classifier = load_classifier(checkpoint)
    figures = evaluate_probe(classifier, fitted, held_out_texts(classifier, config))
    middle = figures.states[len(figures.states) // 2]
    return {
        "family": family,
        "kind": kind,
        "accuracy": figures.accuracy,
        "is_feasible": fitted.record.is_feasible,
        "is_collapsed": fitted.record.is_collapsed,
        "middle_kept_share": middle.kept_share,
        "kept_share": figures.mean("kept_share"),
        "agreement": figures.mean("agreement"),
        "divergence": figures.mean("divergence"),
        "fit_seconds": fitted.record.fit_seconds,
        "states": [dataclasses.asdict(state) for state in figures.states],
    }


def _classifier(experiment: ConvergenceExperiment, family: str) -> Path:
    if family == _REAL and experiment.checkpoint is not None:
        return experiment.checkpoint
    checkpoint = experiment.models / family
    if (checkpoint / "finetune.json").exists():
        _refuse_other_sizes(experiment, checkpoint)
    else:
        base = experiment.models / f"{family}-base"
        where = treebank_files(experiment.data)
        records = read_records(
            experiment.data / where["train"], labels=_LABELS, columns=Columns()
        )
        write_small_model(
            base,
            [record.text for record in records],
            family=family,
            num_layers=experiment.num_layers,
            hidden_size=experiment.hidden_size,
            vocabulary_size=experiment.vocabulary_size,
        )
        finetune(
            FinetuneConfig(
                **where,
                base=base,
                checkpoint=checkpoint,
                labels=_LABELS,
                phrases=True,
                epochs=experiment.epochs,
                learning_rate=5e-4,
                masked_share=0.5,
            )
        )
    return checkpoint


def _refuse_other_sizes(experiment: ConvergenceExperiment, checkpoint: Path) -> None:
    config, record = (
        json.loads((checkpoint / name).read_text(encoding="utf-8"))
        for name in ("config.json", "finetune.json")
    )
    made = {
        "num_layers": config["num_hidden_layers"],
        "hidden_size": config["hidden_size"],
        "epochs": record["config"]["epochs"],
    }
    for name, value in made.items():
        asked = getattr(experiment, name)
        if value != asked:
            raise ConfigError(
                f"{checkpoint} was made with {name} {value}, not {asked}; choose"
                " another folder with --models"
            )
