"""What each command does with its settings: call, print, exit status."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from diffmask_service.bundle import read_bundle
from diffmask_training.checkpoint import load_probe
from diffmask_training.classifier import load_classifier
from diffmask_training.config import (
    EvaluateConfig,
    ExportConfig,
    FinetuneConfig,
    FitConfig,
    VerifyConfig,
)
from diffmask_training.encoding import encode
from diffmask_training.evaluation import evaluate_bundle, evaluate_probe
from diffmask_training.export.rederive import verify_bundle
from diffmask_training.export.write import export
from diffmask_training.figures import Figures
from diffmask_training.finetune import finetune
from diffmask_training.fit import fit
from diffmask_training.probes import ProbeKind
from diffmask_training.progress import Display, figures_table, verdict_lines
from diffmask_training.sharing import Processes
from diffmask_training.splits import read_splits

_KINDS: tuple[ProbeKind, ...] = ("input", "hidden")


def run_finetune(config: FinetuneConfig) -> int:
    """Fine-tune and print accuracy and F1."""
    figures = finetune(config)
    console = Console()
    console.print(
        f"accuracy {figures['accuracy']:.4f}, macro F1 {figures['macro_f1']:.4f} on"
        f" {config.test or 'texts set aside'}; written to {config.checkpoint}"
    )
    return 0


def run_fit(config: FitConfig) -> int:
    """Fit a probe, show its progress and print the verdict; 1 when it is unsound."""
    processes = Processes()
    console = Console(quiet=not processes.is_main)
    with Display(console, config.epochs).watching() as watcher:
        fitted = fit(config, watcher, processes)
    record = fitted.record
    stages = Table(title="where the time went", title_justify="left", box=None)
    stages.add_column("stage")
    stages.add_column("seconds", justify="right")
    for stage, seconds in record.seconds_by_stage.items():
        stages.add_row(stage, f"{seconds:.0f}")
    stages.add_row("all", f"{record.fit_seconds:.0f}")
    console.print(stages)
    if record.verdict is None:
        raise AssertionError("a fit just made has a verdict")
    for line in verdict_lines(record.verdict):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    first, last = min(record.epochs), max(record.epochs)
    chosen = f"epoch {last}" if first == last else f"states of epochs {first} to {last}"
    console.print(
        f"{chosen} chosen; written to {config.probes / config.kind}",
        soft_wrap=True,
    )
    return 0 if record.verdict.is_sound else 1


def run_evaluate(config: EvaluateConfig) -> int:
    """Measure masks on the test texts, print a table, write a JSON report."""
    figures: dict[ProbeKind, Figures] = {}
    multipliers: dict[ProbeKind, tuple[float, ...]] = {}
    if config.bundle is not None:
        bundle = read_bundle(config.bundle)
        figures["input"] = evaluate_bundle(bundle, config)
        states = bundle.manifest.probes["input"].states
        multipliers["input"] = tuple(state.multiplier for state in states)
    else:
        classifier = load_classifier(config.checkpoint)
        task, limit = classifier.encoder.task, config.max_train_tokens
        splits = read_splits(config, classifier.labels, task=task.name)
        tests = encode(splits.test, classifier.tokenizer, limit, task=task)
        for kind in _KINDS:
            fitted = load_probe(config.probes, kind)
            figures[kind] = evaluate_probe(classifier, fitted, tests)
            multipliers[kind] = fitted.record.multipliers
    console = Console()
    for name, measured in figures.items():
        title = f"{name} gates, hard masks, {measured.num_texts} texts"
        console.print(title, soft_wrap=True, highlight=False)
        console.print(figures_table(measured, multipliers[name]))
        console.print(_summary(measured))
    if config.report is not None:
        report = {name: dataclasses.asdict(f) for name, f in figures.items()}
        _write_json(config.report, report)
    return 0


def run_export(config: ExportConfig) -> int:
    """Write a bundle and print its card."""
    bundle = export(config)
    size = sum(file.num_bytes for file in bundle.manifest.files.values())
    console = Console()
    console.print(bundle.files["README.md"].decode(), markup=False, highlight=False)
    console.print(f"{config.bundle}: {size / 1e6:.1f} MB, digest {bundle.digest}")
    return 0


def run_verify(config: VerifyConfig) -> int:
    """Check a bundle and print what was checked."""
    console = Console()
    for line in verify_bundle(config):
        console.print(f"[green]ok[/] {line}")
    return 0


def _summary(figures: Figures) -> str:
    text = (
        f"mean over states: {1 - figures.mean('kept_share'):.1%} masked,"
        f" {figures.mean('agreement'):.1%} of predictions kept"
    )
    after = figures.mean_if_labelled("macro_f1")
    if after is not None and figures.macro_f1 is not None:
        text += f", macro F1 {figures.macro_f1:.4f} unmasked, {after:.4f} masked"
    for name in figures.states[0].scores:
        mean = sum(state.scores[name] for state in figures.states) / len(figures.states)
        text += f", {name.replace('_', ' ')}"
        if name in figures.scores:
            text += f" {figures.scores[name]:.4g} unmasked,"
        text += f" {mean:.4g} masked"
    return text + "\n"


def _write_json(path: Path, report: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}")
    staged.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    staged.replace(path)
