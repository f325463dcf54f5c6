"""What a manifest says of a graph, a probe, live gates and the making of a bundle."""

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from diffmask_service.bundle import (
    FitVerdict,
    Graph,
    GraphFidelity,
    LeakageReport,
    Precision,
    ProbeReport,
    Provenance,
    ReferenceDistribution,
    StateReport,
    count_texts,
    gate_figures,
)
from diffmask_training.batches import Encoding
from diffmask_training.checkpoint import FittedProbe
from diffmask_training.config import ExportConfig
from diffmask_training.errors import CheckpointError
from diffmask_training.figures import Figures
from diffmask_training.masking import HARD_MASK_THRESHOLD
from diffmask_training.probes import ProbeKind
from diffmask_training.runtime import GraphOutputs
from diffmask_training.tasks import Task

KINDS: tuple[ProbeKind, ...] = ("input", "hidden")
_PACKAGES = ("diffmask-service", "torch", "transformers", "onnxscript", "onnxruntime")
# Paths of the machine that made a bundle are nobody's business: every caller of a
# server may read them. Of data files their names are told.
_FILES = frozenset({"train", "validation", "test"})
_PATHS = frozenset(
    {"data", "base", "checkpoint", "probes", "bundle", "triton", "resume"}
)


def describe_graph(
    precision: Precision,
    figures: Figures,
    fitted: FittedProbe,
    *,
    fidelity: GraphFidelity | None,
    forced: bool,
    fused: int,
) -> Graph:
    """Describe one graph of the bundle.

    Args:
        precision: Which graph.
        figures: Its own input masks on the test texts.
        fitted: The input probe.
        fidelity: How true it is to the fp32 graph; None for that one.
        forced: Whether it was exported although it is not true enough.
        fused: Attention operators after fusion.
    """
    return Graph(
        file=f"model.{precision}.onnx",
        fused_attentions=fused,
        fidelity=fidelity,
        forced=forced,
        accuracy=figures.accuracy,
        macro_f1=figures.macro_f1,
        input_masks=_state_reports(figures, fitted),
    )


def _state_reports(figures: Figures, fitted: FittedProbe) -> tuple[StateReport, ...]:
    return tuple(
        StateReport(
            state=state.state,
            kept_share=state.kept_share,
            agreement=state.agreement,
            divergence=state.divergence,
            violation_rate=state.violation_rate,
            accuracy=state.accuracy,
            macro_f1=state.macro_f1,
            multiplier=multiplier,
            scores=state.scores,
        )
        for state, multiplier in zip(
            figures.states, fitted.record.multipliers, strict=True
        )
    )


def describe_probe(
    figures: Figures,
    fitted: FittedProbe,
    *,
    forced: bool,
    leakage: LeakageReport | None,
) -> ProbeReport:
    """Describe how the fit of one probe ended.

    Args:
        figures: Its masks on the test texts, in PyTorch.
        fitted: The probe.
        forced: Whether the export was told to take an unsound probe.
        leakage: Whether its masks give labels away there, if that could be measured.
    """
    record = fitted.record
    is_sound = record.is_feasible and not record.is_collapsed
    return ProbeReport(
        is_feasible=record.is_feasible,
        forced=forced and not is_sound,
        margin=float(record.config["margin"]),
        num_texts=figures.num_texts,
        masked_share=1 - figures.mean("kept_share"),
        agreement=figures.mean("agreement"),
        divergence=figures.mean("divergence"),
        violation_rate=figures.mean("violation_rate"),
        accuracy_before=figures.accuracy,
        accuracy_after=figures.mean_if_labelled("accuracy"),
        macro_f1_before=figures.macro_f1,
        macro_f1_after=figures.mean_if_labelled("macro_f1"),
        fit_seconds=record.fit_seconds,
        seconds_by_stage=record.seconds_by_stage,
        states=_state_reports(figures, fitted),
        verdict=None
        if record.verdict is None
        else FitVerdict(**dataclasses.asdict(record.verdict)),
        leakage=leakage,
    )


def describe_gates(
    task: Task,
    texts: Sequence[Encoding],
    outputs: Sequence[GraphOutputs],
    labels: Sequence[str],
) -> dict[ProbeKind, ReferenceDistribution]:
    """Describe what gates look like on the test texts, by predicted label.

    Args:
        task: What is predicted.
        texts: The test texts.
        outputs: Of the graph that will be served, one entry for each text.
        labels: Label names of the model.
    """
    predicted = [
        task.group(task.predict(output.logits, text))
        for output, text in zip(outputs, texts, strict=True)
    ]
    references = {}
    num_labels = task.num_groups(labels)
    for kind in KINDS:
        figures = [
            gate_figures(getattr(each, f"{kind}_gates"), threshold=HARD_MASK_THRESHOLD)
            for each in outputs
        ]
        mean_gate, kept_share, counts = [], [], []
        for label in range(num_labels):
            gates = [
                getattr(output, f"{kind}_gates")
                for output, said in zip(outputs, predicted, strict=True)
                if said == label
            ]
            counts.append(len(gates))
            if not gates:
                gates = [np.zeros_like(getattr(outputs[0], f"{kind}_gates"))]
            joined = np.concatenate(gates, axis=1)  # [layers, tokens of all texts]
            mean_gate.append(tuple(float(x) for x in joined.mean(axis=1).clip(0, 1)))
            kept = (joined >= HARD_MASK_THRESHOLD).mean(axis=1)
            kept_share.append(tuple(float(x) for x in kept))
        references[kind] = ReferenceDistribution(
            num_texts=tuple(counts),
            mean_gate=tuple(mean_gate),
            kept_share=tuple(kept_share),
            histograms=count_texts(np.stack(figures), predicted, num_labels=num_labels),
        )
    return references


def describe_making(
    config: ExportConfig, fitted: Mapping[ProbeKind, FittedProbe]
) -> Provenance:
    """Describe where the bundle came from; no path of this machine is in it.

    Args:
        config: Settings of the export.
        fitted: The probes, whose records hold the settings of their fits.
    """
    settings: dict[str, Any] = _finetuning(config.checkpoint) | {
        f"fit.{kind}": _without_paths(probe.record.config)
        for kind, probe in fitted.items()
    }
    settings["export"] = _without_paths(dataclasses.asdict(config))
    return Provenance(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        base_model=config.base_model,
        data=config.data_name,
        notes=config.notes,
        config=settings,
        packages={name: metadata.version(name) for name in _PACKAGES},
        processor=fitted["input"].record.processor,
    )


def _finetuning(checkpoint: Path) -> dict[str, Any]:
    # Written by our own `finetune`; a classifier from elsewhere has none.
    path = checkpoint / "finetune.json"
    if not path.exists():
        return {}
    try:
        return {"finetune": _without_paths(json.loads(path.read_bytes())["config"])}
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: not written by `finetune` ({error})") from error


def _without_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: Path(value).name if key in _FILES and value is not None else value
        for key, value in settings.items()
        if key not in _PATHS
    }
