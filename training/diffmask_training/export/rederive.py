"""A bundle checked against the classifier and the probes that it was made from."""

from collections.abc import Iterator
from typing import get_args

import numpy as np
import onnx
from onnx import ModelProto

from diffmask_service.bundle import Bundle, Precision, check_graph, read_bundle
from diffmask_training.checkpoint import load_probe
from diffmask_training.classifier import load_classifier
from diffmask_training.config import VerifyConfig
from diffmask_training.errors import ParityError
from diffmask_training.export.half import halve
from diffmask_training.export.int8 import quantise_products, smoothing_of
from diffmask_training.export.onnx import export_graph
from diffmask_training.export.precision import store_weights_in_8_bits
from diffmask_training.export.verify import (
    LENGTHS,
    TOLERANCE,
    check_parity,
    in_float64,
    random_text,
)
from diffmask_training.export.write import build_module
from diffmask_training.probes import ProbeKind
from diffmask_training.runtime import GraphRuntime


def verify_bundle(config: VerifyConfig) -> Iterator[str]:
    """Check a bundle from its bytes up; yields a line for each check that passed.

    The fp32 graph is derived again and held against PyTorch; every graph of the bundle
    is then held against the same graph derived again.

    Args:
        config: The bundle, the classifier and the probes.

    Raises:
        BundleError: The bundle itself is damaged.
        CheckpointError: The classifier or a probe cannot be read, or do not fit.
        ExportError: The graph's attention is not fused as that of its family is.
        ParityError: Some graph gives other values.
    """
    bundle = read_bundle(config.bundle)
    yield f"{len(bundle.manifest.files)} digests, digest {bundle.digest}"
    for graph in bundle.manifest.graphs.values():
        check_graph(bundle.files[graph.file], bundle.manifest, graph.file)
        yield f"{graph.file}: self-contained, inputs and outputs as in the manifest"
    classifier = load_classifier(config.checkpoint)
    fitted = {
        kind: load_probe(config.probes, kind, classifier=classifier)
        for kind in get_args(ProbeKind)
    }
    module = build_module(classifier, fitted)
    size, pad_id = len(classifier.tokenizer), classifier.tokenizer.pad_token_id
    model = export_graph(module, vocabulary_size=size)
    parity = check_parity(
        in_float64(module),
        _runtime(bundle, model.SerializeToString()),
        vocabulary_size=size,
        max_tokens=bundle.manifest.max_tokens,
        pad_id=pad_id,
    )
    yield (
        "fp32 graph against PyTorch in float64: logits within"
        f" {parity.max_logit_difference:.1e}, gates within"
        f" {parity.max_gate_difference:.1e}"
    )
    for precision, graph in bundle.manifest.graphs.items():
        derived = _derive(precision, model, bundle.files[graph.file])
        largest = _largest_difference(
            _runtime(bundle, derived.SerializeToString()),
            _runtime(bundle, bundle.files[graph.file]),
            vocabulary_size=size,
            max_tokens=bundle.manifest.max_tokens,
            pad_id=pad_id,
        )
        if not largest <= TOLERANCE:
            raise ParityError(
                f"{graph.file}: differs by {largest:.1e} from the graph that this"
                " classifier and these probes give; they are not what it was made from"
            )
        yield f"{graph.file} against the graph derived again: within {largest:.1e}"


def _derive(precision: Precision, model: ModelProto, found: bytes) -> ModelProto:
    match precision:
        case "fp16":
            return halve(model)
        case "w8":
            return store_weights_in_8_bits(model)
        case "int8":
            # The factors came from texts that are not at hand; they change nothing but
            # the rounding, so the graph's own are taken.
            return quantise_products(model, smoothing_of(onnx.load_from_string(found)))
        case _:
            return model


def _runtime(bundle: Bundle, content: bytes) -> GraphRuntime:
    manifest = bundle.manifest
    return GraphRuntime(
        content, states=manifest.states, threshold=manifest.gates.hard_mask_threshold
    )


def _largest_difference(
    left: GraphRuntime,
    right: GraphRuntime,
    *,
    vocabulary_size: int,
    max_tokens: int,
    pad_id: int,
) -> float:
    generator = np.random.default_rng(3)
    largest = 0.0
    for length in (n for n in LENGTHS if n <= max_tokens):
        text = random_text(
            generator, length, vocabulary_size=vocabulary_size, pad_id=pad_id
        )
        one, other = left.run(text), right.run(text)
        for name in ("logits", "input_gates", "hidden_gates"):
            difference = np.abs(getattr(one, name) - getattr(other, name)).max()
            largest = max(largest, float(difference))
    return largest
