"""A fit that was stopped, by whatever and at any moment, ends as if it had not been."""

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from diffmask_training.checkpoint import FittedProbe
from diffmask_training.config import FitConfig
from diffmask_training.errors import CheckpointError
from diffmask_training.fit import Watcher, fit
from tests.support.checkpoint import write_checkpoint, write_texts

SILENT = Watcher(
    on_start=lambda *_: None,
    on_step=lambda *_: None,
    on_epoch=lambda *_: None,
    on_finish=lambda *_: None,
)


class _Stopped(Exception):
    pass


@pytest.fixture
def config(checkpoint: Path, texts: Path, tmp_path: Path) -> FitConfig:
    return FitConfig(
        epoch_steps=0,
        data=texts.parent,
        train=Path(texts.name),
        checkpoint=checkpoint,
        probes=tmp_path / "whole",
        epochs=3,
        batch_size=48,
        learning_rate=1e-2,
    )


def _stopping_after(num_steps: int) -> Watcher:
    left = [num_steps]

    def on_step(_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise _Stopped

    return dataclasses.replace(SILENT, on_step=on_step)


def _same(left: FittedProbe, right: FittedProbe) -> bool:
    one, other = left.probe.state_dict(), right.probe.state_dict()
    return (
        all(torch.equal(one[name], other[name]) for name in one)
        and left.record.multipliers == right.record.multipliers
        and left.record.verdict == right.record.verdict
    )


@pytest.mark.parametrize("preset", ["none", "paper"])
def test_fit_stopped_within_epochs_ends_the_same(
    config: FitConfig, tmp_path: Path, preset: str
) -> None:
    if preset == "paper":
        config = dataclasses.replace(
            config, lookahead=2, dual="rmsprop", optimizer="rmsprop", warmup_steps=5
        )
    whole = fit(config, SILENT)
    stopped = dataclasses.replace(config, probes=tmp_path / "stopped", resume=True)
    for num_steps in (1, 3):  # within the first epoch, then within the second
        with pytest.raises(_Stopped):
            fit(stopped, _stopping_after(num_steps))
    assert _same(whole, fit(stopped, SILENT))
    logs = [(c.probes / "input" / "log.csv").read_text() for c in (config, stopped)]
    assert logs[0] == logs[1]


def test_fit_killed_while_saving_ends_the_same(
    config: FitConfig, tmp_path: Path
) -> None:
    whole = fit(config, SILENT)
    killed = dataclasses.replace(config, probes=tmp_path / "killed")
    script = Path(__file__).parents[1] / "support" / "killed_fit.py"
    paths = [str(p) for p in (killed.data / killed.train, config.checkpoint)]
    run = subprocess.run(
        [sys.executable, str(script), *paths, str(killed.probes)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == -signal.SIGXFSZ, run.stderr
    names = {path.name for path in (killed.probes / "input").iterdir()}
    assert {"resume.pt", ".resume.pt.part"} <= names
    assert _same(whole, fit(dataclasses.replace(killed, resume=True), SILENT))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"learning_rate": 0.02, "epochs": 4},
            r"epochs was 3, is 4; learning_rate was 0\.01, is 0\.02",
        ),
        ({"validation_texts": 3}, "validation texts was sha256"),
        ({"margin_share": 0.5}, r"margin_share was 1\.1, is 0\.5"),
    ],
)
def test_other_settings_are_refused_by_name(
    config: FitConfig, changes: dict[str, float], message: str
) -> None:
    with pytest.raises(_Stopped):
        fit(config, _stopping_after(3))
    other = dataclasses.replace(config, resume=True, **changes)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=message):
        fit(other, SILENT)


def test_other_classifier_and_other_texts_are_refused_by_name(
    config: FitConfig, tmp_path: Path
) -> None:
    with pytest.raises(_Stopped):
        fit(config, _stopping_after(3))
    write_texts(tmp_path / "other.jsonl", seed=1)
    other = dataclasses.replace(
        config,
        resume=True,
        checkpoint=write_checkpoint(tmp_path / "other", seed=1),
        train=Path("other.jsonl"),
    )
    with pytest.raises(CheckpointError, match=r"classifier was .*training texts was"):
        fit(other, SILENT)


def test_moved_files_are_the_same_fit(config: FitConfig, tmp_path: Path) -> None:
    with pytest.raises(_Stopped):
        fit(config, _stopping_after(3))
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes((config.data / config.train).read_bytes())
    elsewhere = dataclasses.replace(config, resume=True, train=Path("moved.jsonl"))
    fit(elsewhere, SILENT)


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        ({}, [1, 2]),
        # What is over the margin, what has not begun to close, and what may only look
        # as if it stood still.
        ({"margin": 1e-6}, [1, 2, 3]),
        ({"initial_bias": 20.0}, [1, 2, 3]),
        ({"epoch_steps": 0}, [1, 2, 3]),
        ({"pacing": False}, [1, 2, 3]),
    ],
)
def test_sound_fit_stops_once_it_stands_still(
    config: FitConfig, changes: dict[str, float], epochs: list[int]
) -> None:
    seen: list[int] = []
    watcher = dataclasses.replace(SILENT, on_epoch=lambda epoch, *_: seen.append(epoch))
    still = dataclasses.replace(
        config,
        kind="hidden",
        epochs=3,
        epoch_steps=2,
        margin=9.0,
        learning_rate=1e-12,
        baseline_learning_rate=1e-12,
        initial_bias=-0.32,  # half of the gates open, by the untrained network
    )
    still = dataclasses.replace(still, **changes)  # type: ignore[arg-type]
    fit(still, watcher)
    assert seen == epochs
    # Nor does it go on from there when asked to.
    fit(dataclasses.replace(still, resume=True), watcher)
    assert seen == epochs


def test_fit_stops_once_patience_is_spent(config: FitConfig) -> None:
    # A learning rate of nothing: the first epoch is the last that is any better.
    seen: list[int] = []
    watcher = dataclasses.replace(SILENT, on_epoch=lambda epoch, *_: seen.append(epoch))
    still = dataclasses.replace(
        config,
        epochs=9,
        patience=2,
        learning_rate=1e-12,
        baseline_learning_rate=1e-12,
        initial_bias=0.0,
    )
    fit(still, watcher)
    assert seen == [1, 2, 3]
    # Nor does it go on from there when asked to.
    fit(dataclasses.replace(still, resume=True), watcher)
    assert seen == [1, 2, 3]
