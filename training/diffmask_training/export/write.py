"""Everything together: classifier and probes to a verified bundle on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto

from diffmask_service.bundle import (
    Bundle,
    LeakageReport,
    Manifest,
    Parity,
    ProbeReport,
    check_target,
    write_bundle,
)
from diffmask_training.batches import Encoding
from diffmask_training.checkpoint import FittedProbe, load_probe, refuse_misfit
from diffmask_training.classifier import Classifier, load_classifier
from diffmask_training.config import ExportConfig
from diffmask_training.errors import InfeasibleError, OutputError
from diffmask_training.evaluation import evaluate_probe
from diffmask_training.explained import explain_texts, is_measurable
from diffmask_training.export.card import write_card
from diffmask_training.export.describe import (
    KINDS,
    describe_gates,
    describe_making,
    describe_probe,
)
from diffmask_training.export.fusion import count_fused_attentions
from diffmask_training.export.graph import FusedModule
from diffmask_training.export.onnx import export_graph
from diffmask_training.export.selftest import build_selftest
from diffmask_training.export.variants import (
    judge_variants,
    make_variants,
    open_runtime,
)
from diffmask_training.export.verify import (
    check_parity,
    in_float64,
    supported_padding,
)
from diffmask_training.figures import Figures
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.leakage.report import report_leakage
from diffmask_training.probes import ProbeKind
from diffmask_training.splits import read_splits
from diffmask_training.whole_files import make_folder

_CALIBRATION_TEXTS = 64


def export(config: ExportConfig) -> Bundle:
    """Fuse, check, measure and write a bundle.

    Args:
        config: What to export and where to.

    Raises:
        CheckpointError: The classifier or a probe is missing or does not fit.
        FidelityError: A graph of lower precision strays too far from the fp32 one, and
            `force` is off.
        ExportError: The graph's attention is not fused as that of its family is.
        InfeasibleError: A probe is infeasible or collapsed, and `force` is off.
        ParityError: The graph and PyTorch disagree.
        BundleError: The target is something else than a bundle.
        OutputError: The bundle cannot be written.
    """
    check_target(config.bundle)
    make_folder(config.bundle.parent)
    classifier = load_classifier(
        config.checkpoint, no_answer_threshold=config.no_answer_threshold
    )
    fitted = {
        kind: load_probe(config.probes, kind, classifier=classifier) for kind in KINDS
    }
    for kind, probe in fitted.items():
        _refuse_unsound(kind, probe, force=config.force)
    texts = _texts(config, classifier)
    tests = texts.test
    figures = {
        kind: evaluate_probe(classifier, probe, tests) for kind, probe in fitted.items()
    }
    task = classifier.encoder.task.with_value(fitted["input"].record.value)
    module = build_module(classifier, fitted)
    plain = export_graph(module, vocabulary_size=len(classifier.tokenizer))
    parity, padding = _checked(classifier, module, plain)
    variants = make_variants(
        classifier,
        plain,
        {"fp32", *config.precisions},
        texts=tests,
        calibration=texts.calibration,
    )
    graphs = judge_variants(
        variants,
        config,
        fitted["input"],
        texts=tests,
        task=task,
        fused=count_fused_attentions(plain),
    )
    default = variants[config.default_graph]
    manifest = Manifest(
        id=config.id,
        version=str(config.version),
        task=task.name,
        labels=classifier.labels,
        max_tokens=classifier.encoder.max_tokens,
        takes_pairs=bool(config.pair_column) or task.pairs == "needed",
        inputs=(*classifier.encoder.inputs, "keep"),
        states=classifier.encoder.states,
        padding=padding,
        graphs=graphs,
        default_graph=config.default_graph,
        parity=parity,
        probes=_reports(classifier, fitted, figures, tests, forced=config.force),
        accuracy=figures["input"].accuracy,
        macro_f1=figures["input"].macro_f1,
        scores=figures["input"].scores,
        value=task.value,
        max_answer_tokens=config.max_answer_tokens,
        no_answer_threshold=config.no_answer_threshold,
        reference=describe_gates(task, tests, default.outputs, classifier.labels),
        provenance=describe_making(config, fitted),
    )
    tokenizer = classifier.tokenizer.backend_tokenizer
    tokenizer.no_padding()
    tokenizer.no_truncation()
    files = {
        **{graph.file: variants[name].content for name, graph in graphs.items()},
        "tokenizer.json": tokenizer.to_str(pretty=False).encode(),
        "selftest.json": build_selftest(
            classifier, default, pairs=manifest.takes_pairs
        ).to_json(),
        "README.md": write_card(manifest).encode(),
    }
    try:
        return write_bundle(config.bundle, manifest, files)
    except OSError as error:
        raise OutputError(
            f"{config.bundle}: the bundle cannot be written ({error.strerror}); what"
            " was there before is as it was. Make room, and export again"
        ) from error


def build_module(
    classifier: Classifier, fitted: Mapping[ProbeKind, FittedProbe]
) -> FusedModule:
    """Return the fused module of a classifier and its two probes.

    Raises:
        CheckpointError: A probe was fitted on another classifier.
    """
    for kind, probe in fitted.items():
        refuse_misfit(kind, probe, classifier)
    return FusedModule(
        classifier.encoder,
        fitted["input"].probe,
        fitted["hidden"].probe,
        HardConcreteShape(),
    ).eval()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Texts:
    """What graphs are judged on, and what the 8-bit one is scaled by; disjoint."""

    test: Sequence[Encoding]
    calibration: Sequence[Encoding]


def _texts(config: ExportConfig, classifier: Classifier) -> _Texts:
    encoder = classifier.encoder
    encoder.task = encoder.task.with_longest_answer(config.max_answer_tokens)
    splits = read_splits(config, classifier.labels, task=encoder.task.name)
    longest = config.max_train_tokens
    return _Texts(
        test=classifier.encode(splits.test, longest),
        calibration=classifier.encode(splits.train[:_CALIBRATION_TEXTS], longest),
    )


def _refuse_unsound(kind: ProbeKind, fitted: FittedProbe, *, force: bool) -> None:
    record = fitted.record
    if force or (record.is_feasible and not record.is_collapsed):
        return
    what = "has collapsed" if record.is_collapsed else "is not feasible"
    remedy = "give it more --epochs, or a larger --margin"
    if record.verdict is not None and record.verdict.advice:
        remedy = record.verdict.advice[0]
    raise InfeasibleError(
        f"the {kind} probe {what}; fit it again ({remedy}), or export it all the same"
        " with --force, which the manifest then says"
    )


def _reports(
    classifier: Classifier,
    fitted: Mapping[ProbeKind, FittedProbe],
    figures: Mapping[ProbeKind, Figures],
    tests: Sequence[Encoding],
    *,
    forced: bool,
) -> dict[ProbeKind, ProbeReport]:
    leakage: dict[ProbeKind, LeakageReport | None] = {}
    if is_measurable(classifier):
        probes = {kind: each.probe for kind, each in fitted.items()}
        texts = explain_texts(classifier, probes, tests)
        leakage = {
            kind: report_leakage(classifier, texts, kind=kind, probe=probe)
            for kind, probe in probes.items()
        }
    return {
        kind: describe_probe(
            figures[kind], probe, forced=forced, leakage=leakage.get(kind)
        )
        for kind, probe in fitted.items()
    }


def _checked(
    classifier: Classifier, module: FusedModule, plain: ModelProto
) -> tuple[Parity, Any]:
    runtime = open_runtime(classifier, plain.SerializeToString())
    size, pad_id = len(classifier.tokenizer), classifier.tokenizer.pad_token_id
    exact = in_float64(module)
    parity = check_parity(
        exact,
        runtime,
        vocabulary_size=size,
        max_tokens=classifier.encoder.max_tokens,
        pad_id=pad_id,
    )
    padding = supported_padding(exact, runtime, vocabulary_size=size, pad_id=pad_id)
    return parity, padding
