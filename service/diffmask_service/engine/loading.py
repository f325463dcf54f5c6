"""From a verified bundle to a model that is proven to work on this machine."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from diffmask_service.bundle import (
    Bundle,
    Manifest,
    Precision,
    check_graph,
    prediction_outputs,
)
from diffmask_service.core.batching import GROUP_TOKENS
from diffmask_service.core.decoding import (
    Decoder,
    LabelDecoder,
    LabelSetDecoder,
    SpanDecoder,
    TagsDecoder,
    ValueDecoder,
)
from diffmask_service.core.values import GateKind, ModelDescription, ModelIdentity, Task
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.limits import Device
from diffmask_service.engine.selftest import (
    check_selftest,
    check_vocabulary,
    is_exact_in_groups,
)
from diffmask_service.engine.session import Session
from diffmask_service.engine.tokenizer import TextTokenizer
from diffmask_service.errors import BundleError, StartError

_LOG = logging.getLogger(__name__)
# Their activations are not scaled by what else is in the run.
_GROUPING_PRECISIONS = frozenset({"fp32", "w8"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model, ready to run.

    Attributes:
        description: What callers may know of it.
        tokenizer: Text to tokens.
        session: Tokens to outputs.
        decoder: Outputs to predictions.
        max_group_tokens: Most tokens of a run with more than one text; 0 keeps every
            text alone.
    """

    description: ModelDescription
    tokenizer: TextTokenizer
    session: Session
    decoder: Decoder
    max_group_tokens: int


def load(bundle: Bundle, *, precision: str | None, device: Device = "auto") -> Loaded:
    """Load one graph of a bundle and run its self-test.

    Args:
        bundle: A bundle whose bytes are verified.
        precision: Which of its graphs; None for its default.
        device: Where to run it.

    Raises:
        BundleError: It has no such graph, or the graph is not the one described.
        SelfTestError: The graph gives other values than at its export.
        StartError: ONNX Runtime is not installed, or offers no such device.
    """
    manifest = bundle.manifest
    name = _choose_graph(manifest, precision)
    content, file = bundle.graph(name), manifest.graphs[name].file
    check_graph(content, manifest, file)
    session = Session(
        content,
        inputs=manifest.inputs,
        predictions=prediction_outputs(manifest.task),
        name=file,
        device=_device_for(name, device),
    )
    tokenizer = TextTokenizer(
        bundle.files["tokenizer.json"],
        max_tokens=manifest.max_tokens,
        keeps_first=manifest.task == "question_answering",
    )
    rows = check_selftest(
        bundle.selftest,
        tokenizer,
        session,
        compare_values=name == manifest.default_graph,
    )
    check_vocabulary(rows[0], tokenizer, session)
    return Loaded(
        description=_describe(bundle, precision=name),
        tokenizer=tokenizer,
        session=session,
        decoder=choose_decoder(manifest),
        max_group_tokens=choose_group_tokens(name, rows, session),
    )


def choose_decoder(manifest: Manifest) -> Decoder:
    """Return what a model's outputs mean.

    Args:
        manifest: Of its bundle.
    """
    match manifest.task:
        case "text_classification":
            return LabelDecoder(labels=manifest.labels)
        case "multi_label_classification":
            return LabelSetDecoder(labels=manifest.labels)
        case "regression":
            value = manifest.value
            if value is None:
                raise AssertionError("a manifest of a regression has its scale")
            return ValueDecoder(scale=value.scale, tolerance=value.tolerance)
        case "token_classification":
            return TagsDecoder(labels=manifest.labels)
        case "question_answering":
            return SpanDecoder(
                max_answer_tokens=manifest.max_answer_tokens,
                no_answer_threshold=manifest.no_answer_threshold,
            )


def choose_group_tokens(
    precision: Precision, rows: Sequence[Row], session: Session
) -> int:
    """Return how many tokens texts may share a run with: 0 unless it changes no bit.

    Args:
        precision: Of the graph.
        rows: Texts to prove it with.
        session: The graph.
    """
    if precision not in _GROUPING_PRECISIONS:
        return 0
    if is_exact_in_groups(rows, session, max_group_tokens=GROUP_TOKENS):
        return GROUP_TOKENS
    _LOG.warning(
        "texts in one run change each other's last bits on this processor; every text"
        " runs alone, at a lower throughput for short texts"
    )
    return 0


def _choose_graph(manifest: Manifest, precision: str | None) -> Precision:
    if precision is None:
        return manifest.default_graph
    for name in manifest.graphs:
        if name == precision:
            return name
    raise BundleError(
        f"the bundle has no {precision} graph; it holds {', '.join(manifest.graphs)}"
    )


def _device_for(precision: Precision, device: Device) -> Device:
    # Its operators exist for CPUs alone, and its texts may not share a run.
    if precision != "int8":
        return device
    if device == "cuda":
        raise StartError(
            "--device: the int8 graph runs on a CPU only; take another precision"
        )
    return "cpu"


def _describe(bundle: Bundle, *, precision: Precision) -> ModelDescription:
    manifest = bundle.manifest
    return ModelDescription(
        identity=ModelIdentity(
            id=manifest.id,
            version=manifest.version,
            digest=bundle.digest,
            precision=precision,
        ),
        task=Task(manifest.task),
        labels=manifest.labels,
        max_tokens=manifest.max_tokens,
        states=manifest.states,
        gates=tuple(GateKind),
        hard_mask_threshold=manifest.gates.hard_mask_threshold,
        takes_pairs=manifest.takes_pairs,
        is_ready=True,
        manifest_json=manifest.to_json().decode(),
    )
