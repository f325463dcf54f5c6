"""What each command does with its settings: call, print, exit status."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from diffmask_service.bundle import TaskName, read_bundle
from diffmask_training.amortisation import refine_text
from diffmask_training.checkpoint import load_probe
from diffmask_training.classifier import load_classifier
from diffmask_training.config import (
    EvaluateConfig,
    ExportConfig,
    FinetuneConfig,
    FitConfig,
    RandomiseConfig,
    RefineConfig,
    ShortcutConfig,
    VerifyConfig,
)
from diffmask_training.errors import DataError
from diffmask_training.evaluation import evaluate_bundle
from diffmask_training.explained import explain_texts
from diffmask_training.export.rederive import verify_bundle
from diffmask_training.export.triton import check_place, write_triton_model
from diffmask_training.export.write import export
from diffmask_training.figures import Figures
from diffmask_training.finetune import finetune
from diffmask_training.fit import fit
from diffmask_training.leakage.verdicts import overall
from diffmask_training.metrics.intervals import Comparison
from diffmask_training.probes import ProbeKind
from diffmask_training.progress import Display, figures_table, verdict_lines
from diffmask_training.records import Columns, Record, read_records
from diffmask_training.reports.measure import measure
from diffmask_training.reports.page import render_page
from diffmask_training.reports.refined import print_refined, refined_json
from diffmask_training.reports.terminal import print_report
from diffmask_training.reports.values import report_json
from diffmask_training.reports.watching import ItemT, Watch
from diffmask_training.sanity.refits import randomise, recover_shortcuts
from diffmask_training.sharing import Processes
from diffmask_training.splits import read_splits
from diffmask_training.whole_files import make_folder, write_whole

_KINDS: tuple[ProbeKind, ...] = ("input", "hidden")


def run_finetune(config: FinetuneConfig) -> int:
    """Fine-tune and print how good it is."""
    found = finetune(config)
    figures = ", ".join(f"{k.replace('_', ' ')} {v:.4f}" for k, v in found.items())
    Console().print(
        f"{figures} on {config.test or 'texts set aside'}; written to"
        f" {config.checkpoint}"
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
    """Measure explanations on the test texts; 1 when masks give the label away."""
    console = Console()
    for path in (config.report, config.html):
        if path is not None:
            make_folder(path.parent)
    if config.bundle is not None:
        return _evaluate_bundle(config, config.bundle, console)
    classifier = load_classifier(
        config.checkpoint, no_answer_threshold=config.no_answer_threshold
    )
    splits = read_splits(config, classifier.labels, task=classifier.encoder.task.name)
    fitted = {
        kind: load_probe(config.probes, kind, classifier=classifier) for kind in _KINDS
    }

    def tracked(items: Sequence[ItemT], what: str) -> Iterable[ItemT]:
        return track(items, what, console=Console(stderr=True), transient=True)

    def print_masks(kind: ProbeKind, figures: Figures) -> None:
        _print_masks(console, kind, figures, fitted[kind].record.multipliers)

    watch = Watch(track=tracked, on_figures=print_masks)
    report = measure(config, classifier, fitted, splits, watch=watch)
    print_report(console, report)
    if config.report is not None:
        _write(config.report, report_json(report))
    if config.html is not None:
        _write(config.html, render_page(report))
    return 1 if report.leakage and overall(report.leakage) == "leak" else 0


def _evaluate_bundle(config: EvaluateConfig, directory: Path, console: Console) -> int:
    bundle = read_bundle(directory)
    figures = evaluate_bundle(bundle, config)
    states = bundle.manifest.probes["input"].states
    multipliers = tuple(state.multiplier for state in states)
    _print_masks(console, "input", figures, multipliers)
    if config.report is not None:
        content = {"figures": {"input": dataclasses.asdict(figures)}}
        _write(config.report, _as_json(content))
    return 0


def _print_masks(
    console: Console, kind: ProbeKind, figures: Figures, multipliers: Sequence[float]
) -> None:
    title = f"{kind} gates, hard masks, {figures.num_texts} texts"
    console.print(title, soft_wrap=True, highlight=False)
    console.print(figures_table(figures, multipliers))
    console.print(_summary(figures))


def run_refine(config: RefineConfig) -> int:
    """Refine texts and print their masks beside the probe's."""
    classifier = load_classifier(config.checkpoint)
    task = classifier.encoder.task.name
    records = _texts_to_refine(config, classifier.labels, task=task)
    encodings = classifier.encode(records, config.max_tokens)
    fitted = load_probe(config.probes, config.kind, classifier=classifier)
    settings = config.refinement(float(fitted.record.config["margin"]))
    explained = explain_texts(classifier, {config.kind: fitted.probe}, encodings)
    refined = [
        refine_text(
            classifier,
            text,
            probe=fitted.probe,
            settings=settings,
            failing_only=config.failing_only,
        )
        for text in track(
            explained, "refining", console=Console(stderr=True), transient=True
        )
    ]
    print_refined(Console(), refined, settings)
    if config.report is not None:
        _write(config.report, refined_json(refined, settings))
    return 0


def run_randomise(config: RandomiseConfig) -> int:
    """Spoil, fit and compare; print how alike explanations are."""
    console = Console()
    with Display(console, config.epochs).watching() as watcher:
        similarities = randomise(config, watcher)
    table = Table(title="explanations of spoilt classifiers", title_justify="left")
    for column in ("blocks", "rank correlation", "random", "top overlap", "random"):
        table.add_column(column)
    for one in similarities:
        pairs = (one.rank_correlation, one.top_jaccard)
        table.add_row(
            str(one.depth), *(text for pair in pairs for text in _cells(pair))
        )
    console.print(table)
    if config.report is not None:
        _write(config.report, _as_json([dataclasses.asdict(s) for s in similarities]))
    return 0


def run_shortcuts(config: ShortcutConfig) -> int:
    """Plant, fine-tune, fit and look; print how often shortcuts are found."""
    console = Console()
    with Display(console, config.epochs).watching() as watcher:
        recoveries = recover_shortcuts(config, watcher)
    table = Table(title="planted shortcuts", title_justify="left")
    for column in ("kind", "obeyed", "precision", "random"):
        table.add_column(column)
    for one in recoveries:
        kind = one.kind.replace("_", " ")
        table.add_row(kind, f"{one.obedience:.1%}", *_cells(one.precision))
    console.print(table)
    if config.report is not None:
        _write(config.report, _as_json([dataclasses.asdict(r) for r in recoveries]))
    return 0


def run_export(config: ExportConfig) -> int:
    """Write a bundle and print its card; write it for Triton as well, if so asked."""
    if config.triton is not None and not config.reuse:
        # Before the work, not after it.
        check_place(config.triton / config.id, version=str(config.version))
    bundle = read_bundle(config.bundle) if config.reuse else export(config)
    size = sum(file.num_bytes for file in bundle.manifest.files.values())
    console = Console()
    # The card's lines end where its author broke them, not at the terminal's width.
    console.out(bundle.files["README.md"].decode(), highlight=False)
    console.out(f"{config.bundle}: {size / 1e6:.1f} MB, digest {bundle.digest}")
    if config.triton is not None:
        console.out(f"{write_triton_model(config.triton, bundle)}: for Triton")
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


def _texts_to_refine(
    config: RefineConfig, labels: Sequence[str], *, task: TaskName
) -> list[Record]:
    records = [Record(text=text) for text in config.text]
    if config.file is not None:
        columns = Columns(
            text=config.text_column, text_pair=config.pair_column, label=""
        )
        read = read_records(config.file, labels=labels, columns=columns, task=task)
        records += read[: config.max_texts or len(read)]
    if not all(record.text.strip() for record in records) or not records:
        raise DataError(
            "nothing to refine; name a --text that is not empty or a --file"
        )
    return records


def _cells(comparison: Comparison | None) -> tuple[str, str]:
    if comparison is None:
        return "not defined", ""
    score = comparison.score
    return (
        f"{score.mean:.3f} ({score.low:.3f} to {score.high:.3f})",
        f"{comparison.control.mean:.3f}",
    )


def _as_json(content: object) -> str:
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _write(path: Path, content: str) -> None:
    content_by_name = {path.name: content.encode()}
    write_whole(path.parent, content_by_name, remedy="Make room, and run it again")
