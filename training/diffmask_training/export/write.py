"""Everything together: classifier and probes to a verified bundle on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto

from diffmask_service.bundle import (
    Bundle,
    Graph,
    GraphFidelity,
    LeakageReport,
    Manifest,
    Parity,
    Precision,
    ProbeReport,
    SelfTest,
    SelfTestCase,
    check_target,
    write_bundle,
)
from diffmask_training.batches import Encoding
from diffmask_training.checkpoint import FittedProbe, load_probe, refuse_misfit
from diffmask_training.classifier import Classifier, load_classifier
from diffmask_training.config import ExportConfig
from diffmask_training.errors import InfeasibleError, OutputError
from diffmask_training.evaluation import evaluate_graph, evaluate_probe
from diffmask_training.explained import explain_texts, is_measurable
from diffmask_training.export.card import write_card
from diffmask_training.export.describe import (
    KINDS,
    describe_gates,
    describe_graph,
    describe_making,
    describe_probe,
)
from diffmask_training.export.fusion import count_fused_attentions
from diffmask_training.export.graph import FusedModule
from diffmask_training.export.half import halve
from diffmask_training.export.int8 import quantise_products
from diffmask_training.export.onnx import export_graph
from diffmask_training.export.precision import store_weights_in_8_bits
from diffmask_training.export.smoothing import find_multipliers
from diffmask_training.export.verify import (
    check_fidelity,
    check_parity,
    compare_graphs,
    is_faithful,
    supported_padding,
)
from diffmask_training.figures import Figures
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.leakage.report import report_leakage
from diffmask_training.masking import HARD_MASK_THRESHOLD
from diffmask_training.probes import ProbeKind
from diffmask_training.records import Record
from diffmask_training.runtime import GraphRuntime
from diffmask_training.splits import read_splits
from diffmask_training.whole_files import make_folder

# Another processor sums in another order; a float32 graph of this depth then strays by
# about 1e-5, and gates at most by ten times that. In 8-bit arithmetic such a change
# tips a value over to the next level here and there: one of 3e-6 in the embeddings of
# these texts moved most gates by less than 1e-4 and one, whose sigmoid is steep, by
# 0.24.
_SELFTEST_TOLERANCE: Mapping[Precision, float] = {
    "fp32": 1e-3,
    "w8": 1e-3,
    "fp16": 0.05,
    "int8": 0.5,
}
_CALIBRATION_TEXTS = 64
_SELFTEST_TEXTS = (
    "Good.",
    "I would gladly watch it again.",
    "The plot goes nowhere, and it takes two hours to get there.",
    "Not bad at all - the ending, though, felt rushed and a little dull.",
    "Élodie's naïve café scene is a small wonder 🙂",
)


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
    needed: set[Precision] = {"fp32", *config.precisions}
    contents = {
        name: _reduce(plain, name, texts.calibration).SerializeToString()
        for name in needed
    }
    runtimes = {
        precision: _runtime(classifier, content)
        for precision, content in contents.items()
    }
    outputs = {
        precision: [runtime.run(text) for text in tests]
        for precision, runtime in runtimes.items()
    }
    fidelities: dict[Precision, GraphFidelity] = {
        precision: compare_graphs(task, tests, outputs["fp32"], outputs[precision])
        for precision in config.precisions
        if precision != "fp32"
    }
    for precision, fidelity in fidelities.items():
        if not config.force:
            check_fidelity(precision, fidelity)
    graphs: dict[Precision, Graph] = {
        precision: describe_graph(
            precision,
            evaluate_graph(
                runtimes[precision],
                tests,
                task=task,
                margin=float(fitted["input"].record.config["margin"]),
            ),
            fitted["input"],
            fidelity=fidelities.get(precision),
            forced=precision in fidelities and not is_faithful(fidelities[precision]),
            fused=count_fused_attentions(plain),
        )
        for precision in config.precisions
    }
    chosen = outputs[config.default_graph]
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
        reference=describe_gates(task, tests, chosen, classifier.labels),
        provenance=describe_making(config, fitted),
    )
    tokenizer = classifier.tokenizer.backend_tokenizer
    tokenizer.no_padding()
    tokenizer.no_truncation()
    files = {
        **{graph.file: contents[precision] for precision, graph in graphs.items()},
        "tokenizer.json": tokenizer.to_str(pretty=False).encode(),
        "selftest.json": _selftest(
            classifier,
            runtimes[config.default_graph],
            pairs=manifest.takes_pairs,
            tolerance=_SELFTEST_TOLERANCE[config.default_graph],
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


def _reduce(
    plain: ModelProto, precision: Precision, calibration: Sequence[Encoding]
) -> ModelProto:
    match precision:
        case "fp16":
            return halve(plain)
        case "w8":
            return store_weights_in_8_bits(plain)
        case "int8":
            return quantise_products(plain, find_multipliers(plain, calibration))
        case _:
            return plain


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


def _runtime(classifier: Classifier, content: bytes) -> GraphRuntime:
    return GraphRuntime(
        content, states=classifier.encoder.states, threshold=HARD_MASK_THRESHOLD
    )


def _checked(
    classifier: Classifier, module: FusedModule, plain: ModelProto
) -> tuple[Parity, Any]:
    runtime = _runtime(classifier, plain.SerializeToString())
    size, pad_id = len(classifier.tokenizer), classifier.tokenizer.pad_token_id
    parity = check_parity(
        module,
        runtime,
        vocabulary_size=size,
        max_tokens=classifier.encoder.max_tokens,
        pad_id=pad_id,
    )
    padding = supported_padding(module, runtime, vocabulary_size=size, pad_id=pad_id)
    return parity, padding


def _selftest(
    classifier: Classifier, runtime: GraphRuntime, *, pairs: bool, tolerance: float
) -> SelfTest:
    records = [
        Record(text=text, text_pair=_SELFTEST_TEXTS[0] if pairs else None)
        for text in _SELFTEST_TEXTS
    ]
    encodings = classifier.encode(records, classifier.encoder.max_tokens)
    cases = []
    for record, encoding in zip(records, encodings, strict=True):
        outputs = runtime.run(encoding)
        cases.append(
            SelfTestCase(
                text=record.text,
                text_pair=record.text_pair,
                input_ids=encoding.input_ids,
                logits=tuple(outputs.logits.ravel().tolist()),
                input_gates=tuple(tuple(row) for row in outputs.input_gates.tolist()),
                hidden_gates=tuple(tuple(row) for row in outputs.hidden_gates.tolist()),
            )
        )
    return SelfTest(tolerance=tolerance, cases=tuple(cases))
