"""Fitted probes and interrupted fits on disk.

A fitted probe is `probe.safetensors` with `probe.json` beside it: what a user keeps. A
`resume.pt` holds a whole trainer between two epochs; a fit that goes on from it equals
one that was never interrupted, and it is refused to one that would not.
"""

import dataclasses
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file, save

from diffmask_service.bundle import ValueDefinition
from diffmask_training.errors import CheckpointError
from diffmask_training.probes import Probe, ProbeKind, ProbeShape, plain_state
from diffmask_training.trainer import Trainer
from diffmask_training.verdict import Verdict, verdict_from
from diffmask_training.whole_files import write_whole

_WEIGHTS = "probe.safetensors"
_RECORD = "probe.json"
_RESUME = "resume.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRecord:
    """How a fit ended.

    Attributes:
        is_feasible: Whether the constraint held in every state on the validation texts.
        is_collapsed: Whether some state keeps hardly a token, or hardly drops one.
        epochs: The epoch that each state is kept from, counted from 1.
        multipliers: Of each state, at that epoch's end.
        fit_seconds: Wall-clock time of the whole fit, seconds.
        seconds_by_stage: Where it went.
        processor: What it ran on.
        config: Settings of the fit; the margin is the one in nats.
        verdict: Figures and advice; None in records of an older version.
        value: What was measured of a model that predicts a value; None for others.
    """

    is_feasible: bool
    is_collapsed: bool
    epochs: tuple[int, ...]
    multipliers: tuple[float, ...]
    fit_seconds: float
    seconds_by_stage: Mapping[str, float]
    processor: str
    config: Mapping[str, Any]
    verdict: Verdict | None = None
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
    """Write a fitted probe, whole or not at all.

    Raises:
        CheckpointError: It cannot be written.
    """
    described = {
        "shape": dataclasses.asdict(fitted.probe.shape),
        "record": dataclasses.asdict(fitted.record),
    }
    text = json.dumps(described, indent=2, default=str) + "\n"
    tensors = {name: value.cpu() for name, value in plain_state(fitted.probe).items()}
    write_whole(directory, {_WEIGHTS: save(tensors), _RECORD: text.encode()})


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
        if record.verdict is not None:
            verdict = verdict_from(described["record"]["verdict"])
            record = dataclasses.replace(record, verdict=verdict)
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


def save_resume(
    directory: Path,
    trainer: Trainer,
    progress: Mapping[str, Any],
    *,
    identity: Mapping[str, str],
) -> None:
    """Write a trainer between two epochs, with what its caller keeps beside it.

    Args:
        directory: Where to.
        trainer: The trainer.
        progress: What its caller keeps.
        identity: What a fit must have in common with this one to go on from it: values
            by name.

    Raises:
        CheckpointError: It cannot be written; the last one is as it was.
    """
    buffer = io.BytesIO()
    state = {
        "identity": dict(identity),
        "trainer": trainer.state_dict(),
        "progress": dict(progress),
    }
    torch.save(state, buffer)
    write_whole(directory, {_RESUME: buffer.getvalue()})


def load_resume(
    directory: Path, trainer: Trainer, *, identity: Mapping[str, str]
) -> dict[str, Any] | None:
    """Take up an interrupted fit; return what its caller kept, or None without one.

    Raises:
        CheckpointError: The file is damaged or belongs to another fit.
    """
    path = directory / _RESUME
    if not path.exists():
        return None
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        _refuse_other(path, state["identity"], identity)
        trainer.load_state_dict(state["trainer"])
        progress: dict[str, Any] = state["progress"]
    except (
        RuntimeError,
        KeyError,
        ValueError,
        OSError,
        EOFError,
        UnpicklingError,
    ) as error:
        raise CheckpointError(
            f"{path}: damaged, or written by another version ({type(error).__name__});"
            " delete it to start again"
        ) from error
    return progress


def _refuse_other(
    path: Path, begun: Mapping[str, str], given: Mapping[str, str]
) -> None:
    names = sorted({*begun, *given})
    differing = [
        f"{name} was {begun.get(name, 'not there')}, is {given.get(name, 'not there')}"
        for name in names
        if begun.get(name) != given.get(name)
    ]
    if differing:
        raise CheckpointError(
            f"{path}: belongs to another fit: {'; '.join(differing)}. Go on with what"
            " it was begun with, or delete it to start again"
        )
