"""Fitted probes and interrupted fits on disk.

A fitted probe is `probe.safetensors` with `probe.json` beside it: what a user keeps. A
`resume.pt` holds a whole trainer between two epochs; a fit that goes on from it equals
one that was never interrupted, and it is refused to one that would not.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from diffmask_service.bundle import ValueDefinition
from diffmask_training.classifier import Classifier
from diffmask_training.errors import CheckpointError, OutputError
from diffmask_training.identity import refuse_other
from diffmask_training.probes import Probe, ProbeKind, ProbeShape, plain_state
from diffmask_training.trainer import Trainer
from diffmask_training.verdict import Verdict, verdict_from
from diffmask_training.whole_files import make_folder, write_whole

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
        classifier: Short digest of the weights that it was fitted on; empty in records
            of an older version.
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
    classifier: str = ""


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
        OutputError: It cannot be written.
    """
    tensors = {name: value.cpu() for name, value in plain_state(fitted.probe).items()}
    weights = save(tensors)
    described = {
        "shape": dataclasses.asdict(fitted.probe.shape),
        "record": dataclasses.asdict(fitted.record),
        # Two files cannot be replaced at once; a reader sees whether they belong
        # together.
        "weights": hashlib.sha256(weights).hexdigest(),
    }
    text = json.dumps(described, indent=2, default=str) + "\n"
    write_whole(directory, {_WEIGHTS: weights, _RECORD: text.encode()})


def load_probe(
    probes: Path, kind: ProbeKind, *, classifier: Classifier | None = None
) -> FittedProbe:
    """Read the fitted probe of one kind.

    Args:
        probes: Directory of the fitted probes, a folder a kind.
        kind: What it masks.
        classifier: What it is to explain, and so must have been fitted on; not looked
            at when None.

    Raises:
        CheckpointError: It is missing, not a probe, or another classifier's.
    """
    directory = probes / kind
    try:
        described = json.loads((directory / _RECORD).read_text(encoding="utf-8"))
        probe = Probe(ProbeShape(**described["shape"]))
        weights = (directory / _WEIGHTS).read_bytes()
        _refuse_stray(weights, described.get("weights"))
        probe.load_state_dict(load(weights))
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
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,
        OSError,
        SafetensorError,
    ) as error:
        raise CheckpointError(f"{directory}: not a fitted probe ({error})") from error
    fitted = FittedProbe(probe=probe.eval(), record=record)
    if classifier is not None:
        refuse_misfit(kind, fitted, classifier)
    return fitted


def refuse_misfit(kind: ProbeKind, fitted: FittedProbe, classifier: Classifier) -> None:
    """Refuse a probe that was fitted on another classifier.

    Raises:
        CheckpointError: Its states are not the classifier's, or its weights were others
            then.
    """
    widths, begun = fitted.probe.shape.widths, fitted.record.classifier
    if widths != classifier.encoder.widths:
        raise CheckpointError(
            f"the {kind} probe was fitted on states of the widths {list(widths)}, this"
            f" classifier's have {list(classifier.encoder.widths)}; fit it on this"
            " classifier"
        )
    if begun not in {"", classifier.weights}:
        raise CheckpointError(
            f"the {kind} probe was fitted on a classifier with the weights {begun},"
            f" this one's are {classifier.weights}; fit it on this classifier"
        )


def _refuse_stray(weights: bytes, expected: str | None) -> None:
    # Records of an older version do not name them.
    if expected is not None and hashlib.sha256(weights).hexdigest() != expected:
        raise ValueError(
            f"{_WEIGHTS} is not the one that {_RECORD} was written with; the fit was"
            " interrupted just then: run it once more with --resume"
        )


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
        OutputError: It cannot be written; the last one is as it was.
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
        refuse_other(path, state["identity"], identity)
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


def forget_resume(directory: Path) -> None:
    """Drop an earlier run's checkpoint, which this one is not to go on from.

    Raises:
        OutputError: The folder cannot be made or written in.
    """
    make_folder(directory)
    try:
        (directory / _RESUME).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{directory}: cannot be written ({error.strerror})"
        ) from error
