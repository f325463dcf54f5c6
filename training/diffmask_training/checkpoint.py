"""Fitted probes and interrupted fits on disk.

A fitted probe is `probe.safetensors` with `probe.json` beside it: what a user keeps. A
`resume.pt` holds a whole trainer between two epochs; a fit that goes on from it equals
one that was never interrupted.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffmask_service.bundle import ValueDefinition
from diffmask_training.errors import CheckpointError
from diffmask_training.probes import Probe, ProbeKind, ProbeShape
from diffmask_training.trainer import Trainer

_WEIGHTS = "probe.safetensors"
_RECORD = "probe.json"
_RESUME = "resume.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRecord:
    """How a fit ended.

    Attributes:
        is_feasible: Whether the constraint held in every state on the validation texts.
        is_collapsed: Whether some state keeps hardly a token, or hardly drops one.
        epoch: The chosen epoch, counted from 1.
        multipliers: Of each state, at that epoch's end.
        fit_seconds: Wall-clock time of the whole fit, seconds.
        seconds_by_stage: Where it went.
        processor: What it ran on.
        config: Settings of the fit.
        value: What was measured of a model that predicts a value; None for others.
    """

    is_feasible: bool
    is_collapsed: bool
    epoch: int
    multipliers: tuple[float, ...]
    fit_seconds: float
    seconds_by_stage: Mapping[str, float]
    processor: str
    config: Mapping[str, Any]
    value: ValueDefinition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedProbe:
    """A probe and how it came about.

    Attributes:
        probe: The probe.
        record: How its fit ended.
    """

    probe: Probe
    record: FitRecord


def save_probe(directory: Path, fitted: FittedProbe) -> None:
    """Write a fitted probe, each file whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    weights = directory / f".{_WEIGHTS}"
    save_file(plain_state(fitted.probe), weights)
    weights.replace(directory / _WEIGHTS)
    described = {
        "shape": dataclasses.asdict(fitted.probe.shape),
        "record": dataclasses.asdict(fitted.record),
    }
    text = json.dumps(described, indent=2, default=str) + "\n"
    record = directory / f".{_RECORD}"
    record.write_text(text, encoding="utf-8")
    record.replace(directory / _RECORD)


def load_probe(probes: Path, kind: ProbeKind) -> FittedProbe:
    """Read the fitted probe of one kind.

    Raises:
        CheckpointError: It is missing or not a probe.
    """
    directory = probes / kind
    try:
        described = json.loads((directory / _RECORD).read_text(encoding="utf-8"))
        probe = Probe(ProbeShape(**described["shape"]))
        probe.load_state_dict(load_file(directory / _WEIGHTS))
        record = FitRecord(**described["record"])
        if record.value is not None:
            value = ValueDefinition(**described["record"]["value"])
            record = dataclasses.replace(record, value=value)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{directory}: no fitted probe; run `diffmask-train fit --kind {kind}`"
            f" first"
        ) from error
    except (ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
        raise CheckpointError(f"{directory}: not a fitted probe ({error})") from error
    return FittedProbe(probe=probe.eval(), record=record)


def plain_state(probe: Probe) -> dict[str, Tensor]:
    """Return copies of a probe's tensors, safe from further training."""
    return {name: value.detach().clone() for name, value in probe.state_dict().items()}


def save_resume(directory: Path, trainer: Trainer, progress: Mapping[str, Any]) -> None:
    """Write a trainer between two epochs, with what its caller keeps beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f".{_RESUME}"
    torch.save({"trainer": trainer.state_dict(), "progress": dict(progress)}, path)
    path.replace(directory / _RESUME)


def load_resume(directory: Path, trainer: Trainer) -> dict[str, Any] | None:
    """Take up an interrupted fit; return what its caller kept, or None without one.

    Raises:
        CheckpointError: The file is damaged or belongs to other settings.
    """
    path = directory / _RESUME
    if not path.exists():
        return None
    try:
        state = torch.load(path, weights_only=True)
        trainer.load_state_dict(state["trainer"])
    except (
        RuntimeError,
        KeyError,
        ValueError,
        OSError,
        EOFError,
        UnpicklingError,
    ) as error:
        raise CheckpointError(
            f"{path}: damaged, or of a fit with other settings"
            f" ({type(error).__name__}); delete it to start again"
        ) from error
    progress: dict[str, Any] = state["progress"]
    return progress
