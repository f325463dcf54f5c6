"""Everything together: classifier and probes to a verified bundle on disk."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from diffmask_service.bundle import (
    Bundle,
    Graph,
    Manifest,
    Parity,
    ProbeReport,
    Provenance,
    ReferenceDistribution,
    SelfTest,
    SelfTestCase,
    StateReport,
    check_target,
    write_bundle,
)
from diffmask_service.bundle.manifest import Precision
from diffmask_training.batches import Encoding, encode
from diffmask_training.checkpoint import FittedProbe, load_probe
from diffmask_training.classifier import Classifier, load_classifier
from diffmask_training.config import ExportConfig
from diffmask_training.errors import InfeasibleError
from diffmask_training.evaluation import evaluate_graph, evaluate_probe
from diffmask_training.export.card import write_card
from diffmask_training.export.graph import FusedModule
from diffmask_training.export.onnx import (
    INPUTS,
    count_fused_attentions,
    export_graph,
)
from diffmask_training.export.precision import store_weights_in_8_bits
from diffmask_training.export.verify import (
    check_parity,
    compare_graphs,
    supported_padding,
)
from diffmask_training.figures import Figures
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.masking import HARD_MASK_THRESHOLD
from diffmask_training.probes import ProbeKind
from diffmask_training.records import Record
from diffmask_training.runtime import GraphOutputs, GraphRuntime
from diffmask_training.splits import read_splits

_KINDS: tuple[ProbeKind, ...] = ("input", "hidden")
# Another processor sums in another order; a float32 graph of this depth then strays by
# about 1e-5, and gates at most by ten times that.
_SELFTEST_TOLERANCE = 1e-3
_SELFTEST_TEXTS = (
    "Good.",
    "I would gladly watch it again.",
    "The plot goes nowhere, and it takes two hours to get there.",
    "Not bad at all - the ending, though, felt rushed and a little dull.",
    "Élodie's naïve café scene is a small wonder 🙂",
)
_PACKAGES = ("diffmask-service", "torch", "transformers", "onnxscript", "onnxruntime")


def export(config: ExportConfig) -> Bundle:
    """Fuse, check, measure and write a bundle.

    Args:
        config: What to export and where to.

    Raises:
        CheckpointError: The classifier or a probe is missing or does not fit.
        InfeasibleError: A probe is infeasible or collapsed, and `force` is off.
        ParityError: The graph and PyTorch disagree.
        BundleError: The target is something else than a bundle.
    """
    check_target(config.bundle)
    classifier = load_classifier(config.checkpoint)
    fitted = {kind: load_probe(config.probes, kind) for kind in _KINDS}
    for kind, probe in fitted.items():
        _refuse_unsound(kind, probe, force=config.force)
    splits = read_splits(config, classifier.labels)
    tests = encode(splits.test, classifier.tokenizer, config.max_train_tokens)
    figures = {
        kind: evaluate_probe(classifier, probe, tests) for kind, probe in fitted.items()
    }
    module = build_module(classifier, fitted)
    plain = export_graph(module, vocabulary_size=len(classifier.tokenizer))
    parity, padding = _checked(classifier, module, plain)
    models = {"fp32": plain, "w8": store_weights_in_8_bits(plain)}
    needed: set[Precision] = {"fp32", *config.precisions}
    contents = {name: models[name].SerializeToString() for name in needed}
    runtimes = {
        precision: _runtime(classifier, content)
        for precision, content in contents.items()
    }
    outputs = {
        precision: [runtime.run(text) for text in tests]
        for precision, runtime in runtimes.items()
    }
    graphs: dict[Precision, Graph] = {
        precision: _described(
            precision,
            evaluate_graph(
                runtimes[precision],
                tests,
                margin=float(fitted["input"].record.config["margin"]),
            ),
            fitted["input"],
            outputs,
            fused=count_fused_attentions(plain),
        )
        for precision in config.precisions
    }
    chosen = outputs[config.default_graph]
    manifest = Manifest(
        id=config.id,
        version=str(config.version),
        labels=classifier.labels,
        max_tokens=int(classifier.encoder.model.config.max_position_embeddings),
        takes_pairs=bool(config.pair_column),
        inputs=INPUTS,
        states=classifier.encoder.states,
        padding=padding,
        graphs=graphs,
        default_graph=config.default_graph,
        parity=parity,
        probes={
            kind: _report(figures[kind], probe, forced=config.force)
            for kind, probe in fitted.items()
        },
        accuracy=figures["input"].accuracy,
        macro_f1=figures["input"].macro_f1,
        reference=_reference(chosen, len(classifier.labels)),
        provenance=_provenance(config, fitted),
    )
    tokenizer = classifier.tokenizer.backend_tokenizer
    tokenizer.no_padding()
    tokenizer.no_truncation()
    files = {
        **{graph.file: contents[precision] for precision, graph in graphs.items()},
        "tokenizer.json": tokenizer.to_str(pretty=False).encode(),
        "selftest.json": _selftest(
            classifier, runtimes[config.default_graph], pairs=manifest.takes_pairs
        ).to_json(),
        "README.md": write_card(manifest).encode(),
    }
    return write_bundle(config.bundle, manifest, files)


def build_module(
    classifier: Classifier, fitted: Mapping[ProbeKind, FittedProbe]
) -> FusedModule:
    """Return the fused module of a classifier and its two probes."""
    return FusedModule(
        classifier.encoder,
        fitted["input"].probe,
        fitted["hidden"].probe,
        HardConcreteShape(),
    ).eval()


def _refuse_unsound(kind: ProbeKind, fitted: FittedProbe, *, force: bool) -> None:
    record = fitted.record
    if force or (record.is_feasible and not record.is_collapsed):
        return
    what = "has collapsed" if record.is_collapsed else "is not feasible"
    raise InfeasibleError(
        f"the {kind} probe {what}; fit longer, or with a larger margin, or export it"
        f" all"
        " the same with --force, which the manifest then says"
    )


def _runtime(classifier: Classifier, content: bytes) -> GraphRuntime:
    return GraphRuntime(
        content, states=classifier.encoder.states, threshold=HARD_MASK_THRESHOLD
    )


def _checked(
    classifier: Classifier, module: FusedModule, plain: ModelProto
) -> tuple[Parity, Any]:
    runtime = _runtime(classifier, plain.SerializeToString())
    size = len(classifier.tokenizer)
    parity = check_parity(
        module,
        runtime,
        vocabulary_size=size,
        max_tokens=int(classifier.encoder.model.config.max_position_embeddings),
        pad_id=classifier.tokenizer.pad_token_id,
    )
    return parity, supported_padding(module, runtime, vocabulary_size=size)


def _described(
    precision: Precision,
    figures: Figures,
    fitted: FittedProbe,
    outputs: Mapping[Precision, Sequence[GraphOutputs]],
    *,
    fused: int,
) -> Graph:
    is_plain = precision == "fp32"
    return Graph(
        file=f"model.{precision}.onnx",
        fused_attentions=fused,
        fidelity=None
        if is_plain
        else compare_graphs(outputs["fp32"], outputs[precision]),
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
        )
        for state, multiplier in zip(
            figures.states, fitted.record.multipliers, strict=True
        )
    )


def _report(figures: Figures, fitted: FittedProbe, *, forced: bool) -> ProbeReport:
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
    )


def _reference(
    outputs: Sequence[GraphOutputs], num_labels: int
) -> dict[ProbeKind, ReferenceDistribution]:
    predicted = np.array([output.logits.argmax() for output in outputs])
    references = {}
    for kind in _KINDS:
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
        )
    return references


def _selftest(
    classifier: Classifier, runtime: GraphRuntime, *, pairs: bool
) -> SelfTest:
    records = [
        Record(text=text, text_pair=_SELFTEST_TEXTS[0] if pairs else None)
        for text in _SELFTEST_TEXTS
    ]
    limit = int(classifier.encoder.model.config.max_position_embeddings)
    encodings: list[Encoding] = encode(records, classifier.tokenizer, limit)
    cases = []
    for record, encoding in zip(records, encodings, strict=True):
        outputs = runtime.run(encoding)
        cases.append(
            SelfTestCase(
                text=record.text,
                text_pair=record.text_pair,
                input_ids=encoding.input_ids,
                logits=tuple(outputs.logits.tolist()),
                input_gates=tuple(tuple(row) for row in outputs.input_gates.tolist()),
                hidden_gates=tuple(tuple(row) for row in outputs.hidden_gates.tolist()),
            )
        )
    return SelfTest(tolerance=_SELFTEST_TOLERANCE, cases=tuple(cases))


def _provenance(
    config: ExportConfig, fitted: Mapping[ProbeKind, FittedProbe]
) -> Provenance:
    # Paths of the machine that made a bundle are nobody's business.
    settings: dict[str, Any] = {
        f"fit.{kind}": _without_paths(probe.record.config)
        for kind, probe in fitted.items()
    }
    settings["export"] = _without_paths(dataclasses.asdict(config))
    return Provenance(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        base_model=config.base_model,
        data=config.data_name,
        config=settings,
        packages={name: metadata.version(name) for name in _PACKAGES},
        processor=fitted["input"].record.processor,
    )


def _without_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    paths = {"data", "checkpoint", "probes", "bundle", "base"}
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in settings.items()
        if key not in paths
    }
