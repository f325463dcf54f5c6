"""One graph in several precisions, each run over the same texts and judged."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from diffmask_service.bundle import Graph, GraphFidelity, Precision
from diffmask_training.batches import Encoding
from diffmask_training.checkpoint import FittedProbe
from diffmask_training.classifier import Classifier
from diffmask_training.config import ExportConfig
from diffmask_training.evaluation import evaluate_graph
from diffmask_training.export.describe import describe_graph
from diffmask_training.export.half import halve
from diffmask_training.export.int8 import quantise_products
from diffmask_training.export.precision import store_weights_in_8_bits
from diffmask_training.export.smoothing import find_multipliers
from diffmask_training.export.verify import (
    check_fidelity,
    compare_graphs,
    is_faithful,
)
from diffmask_training.masking import HARD_MASK_THRESHOLD
from diffmask_training.runtime import GraphOutputs, GraphRuntime
from diffmask_training.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A graph in one precision.

    Attributes:
        precision: Of its weights and products.
        content: What is written.
        runtime: It, ready to run.
        outputs: Of the test texts, one entry for each.
    """

    precision: Precision
    content: bytes
    runtime: GraphRuntime
    outputs: Sequence[GraphOutputs]


def make_variants(
    classifier: Classifier,
    plain: ModelProto,
    precisions: Collection[Precision],
    *,
    texts: Sequence[Encoding],
    calibration: Sequence[Encoding],
) -> dict[Precision, Variant]:
    """Reduce a graph to each precision, and run each over the same texts.

    Args:
        classifier: Names the states.
        plain: The float32 graph.
        precisions: Which are made.
        texts: What they are judged on.
        calibration: Other texts, by which 8-bit products are scaled.
    """
    variants = {}
    for precision in precisions:
        content = _reduce(plain, precision, calibration).SerializeToString()
        runtime = open_runtime(classifier, content)
        variants[precision] = Variant(
            precision=precision,
            content=content,
            runtime=runtime,
            outputs=[runtime.run(text) for text in texts],
        )
    return variants


def judge_variants(
    variants: Mapping[Precision, Variant],
    config: ExportConfig,
    fitted: FittedProbe,
    *,
    texts: Sequence[Encoding],
    task: Task,
    fused: int,
) -> dict[Precision, Graph]:
    """Return what a manifest says of each graph that goes into the bundle.

    Args:
        variants: The fp32 one among them.
        config: Which go into the bundle, and whether unfaithful ones may.
        fitted: The input probe.
        texts: Those that the variants were run over.
        task: What they predict.
        fused: Attention operators after fusion.

    Raises:
        FidelityError: One strays too far from the fp32 graph, and `force` is off.
    """
    reference = variants["fp32"].outputs
    fidelities: dict[Precision, GraphFidelity] = {
        precision: compare_graphs(task, texts, reference, variants[precision].outputs)
        for precision in config.precisions
        if precision != "fp32"
    }
    for precision, fidelity in fidelities.items():
        if not config.force:
            check_fidelity(precision, fidelity)
    return {
        precision: describe_graph(
            precision,
            evaluate_graph(
                variants[precision].runtime,
                texts,
                task=task,
                margin=float(fitted.record.config["margin"]),
            ),
            fitted,
            fidelity=fidelities.get(precision),
            forced=precision in fidelities and not is_faithful(fidelities[precision]),
            fused=fused,
        )
        for precision in config.precisions
    }


def open_runtime(classifier: Classifier, content: bytes) -> GraphRuntime:
    """Return a graph of a classifier, ready to run."""
    return GraphRuntime(
        content, states=classifier.encoder.states, threshold=HARD_MASK_THRESHOLD
    )


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
