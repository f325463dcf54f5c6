"""The manifest: frozen dataclasses to JSON and back, each value checked by its path.

`msgspec` does the conversion: it is typed, has no dependencies, and names the JSON path
of whatever it refuses.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec

from diffmask_service.bundle.reference import References
from diffmask_service.bundle.strict_json import parse_json
from diffmask_service.bundle.training_report import (
    Count,
    ProbeReport,
    Share,
    StateReport,
)
from diffmask_service.errors import ManifestError, SchemaVersionError

SCHEMA_VERSION = 1
Precision = Literal["fp32", "fp16", "int8", "w8"]
TaskName = Literal[
    "text_classification",
    "multi_label_classification",
    "regression",
    "token_classification",
    "question_answering",
]
# Least and most labels.
_NUM_LABELS_BY_TASK: Mapping[TaskName, tuple[int, float]] = {
    "text_classification": (2, math.inf),
    "multi_label_classification": (1, math.inf),
    "regression": (1, 1),
    "token_classification": (2, math.inf),
    "question_answering": (0, 0),
}

# Of a model; safe as the name of a folder, too.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"
VERSION_PATTERN = r"^[1-9][0-9]{0,8}\Z"
_Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
_FileName = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
_Version = Annotated[str, msgspec.Meta(pattern=VERSION_PATTERN)]
# What a caller is shown, or asks for.
_Label = Annotated[str, msgspec.Meta(max_length=1024)]
_Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """Digest of one file of the bundle.

    Attributes:
        sha256: 64 hex digits.
        num_bytes: Size, bytes.
    """

    sha256: _Digest
    num_bytes: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDefinition:
    """The distribution behind the votes and how a gate becomes a hard mask.

    Attributes:
        distribution: Name of the distribution.
        temperature: Of the binary Concrete, > 0.
        lower: Lower end of the stretch, < 0.
        upper: Upper end of the stretch, >= 1.
        hard_mask_threshold: A token is kept when its gate is at least this, in [0, 1].
    """

    distribution: Literal["hard_concrete"] = "hard_concrete"
    temperature: float = 0.2
    lower: float = -0.2
    upper: float = 1.0
    hard_mask_threshold: Share = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueDefinition:
    """What counts as near, for a model that predicts a number.

    Attributes:
        scale: Standard deviation of the model's predictions on its training texts, > 0;
            a divergence is half the squared change in units of it.
        tolerance: Largest change under which a prediction counts as kept, >= 0.
    """

    scale: Annotated[float, msgspec.Meta(gt=0.0)]
    tolerance: Annotated[float, msgspec.Meta(ge=0.0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFidelity:
    """A reduced-precision graph against the fp32 graph, on real texts.

    Attributes:
        num_texts: Texts compared.
        label_agreement: Share of equal predictions, in [0, 1]; of words with the same
            label where each word has one.
        input_gate_rank_correlation: Spearman's, over all input gates, in [-1, 1].
        hidden_gate_rank_correlation: Spearman's, over all hidden gates, in [-1, 1].
        max_gate_difference: Largest absolute difference of any gate.
        max_logit_difference: Largest absolute difference of any logit.
    """

    num_texts: Count
    label_agreement: Share
    input_gate_rank_correlation: float
    hidden_gate_rank_correlation: float
    max_gate_difference: float
    max_logit_difference: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """One ONNX graph of the bundle.

    Attributes:
        file: Its file name.
        fused_attentions: Attention operators after fusion; 0 where none fused.
        fidelity: Against the fp32 graph; None for fp32 itself.
        forced: Whether it was exported although it strays too far from the fp32 graph.
        accuracy: Of this graph on the report texts, in [0, 1]; None if not measured.
        macro_f1: Likewise.
        input_masks: This graph's own input masks, run through its `keep` input, one
            report for each state; empty if not measured.
    """

    file: _FileName
    fused_attentions: Count
    fidelity: GraphFidelity | None = None
    forced: bool = False
    accuracy: Share | None = None
    macro_f1: Share | None = None
    input_masks: tuple[StateReport, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The fp32 graph against PyTorch.

    Attributes:
        lengths: Input lengths compared, tokens, special tokens counted; each alone and
            all together in one padded batch.
        max_logit_difference: Largest absolute difference of any logit.
        max_gate_difference: Largest absolute difference of any gate.
        tolerance: What export allowed.
    """

    lengths: tuple[int, ...]
    max_logit_difference: float
    max_gate_difference: float
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where the bundle came from.

    Attributes:
        created: UTC time of the export, ISO 8601.
        base_model: Name of the pretrained model.
        data: What it was trained and measured on.
        config: Settings of every step.
        packages: Versions of the packages that made it.
        processor: Name of the processor that fitted the probes, and its core count.
        notes: What whoever uses the bundle should know besides.
    """

    created: str
    base_model: str
    data: str
    config: Mapping[str, Any]
    packages: Mapping[str, str]
    processor: str
    notes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The header of a bundle.

    Attributes:
        schema_version: Version of this layout.
        id: Name of the model.
        version: Its version, a positive decimal number.
        task: What it predicts.
        labels: Label names in index order; one for a value, none for a span.
        max_tokens: Longest input, tokens, special tokens counted.
        takes_pairs: Whether it was trained on text pairs, or on questions and contexts.
        inputs: Names of the graph's inputs.
        states: Names of the states, index 0 first: the `layers` axis.
        gates: The gate distribution.
        padding: `any` when the graph was seen to honour every attention mask, `right`
            when only one that hides the end of a text.
        graphs: The graphs by precision.
        default_graph: Which one to serve unless told otherwise.
        parity: The fp32 graph against PyTorch.
        probes: Report by kind of gate, `input` and `hidden`.
        accuracy: Accuracy of the unmasked model on the report texts, in [0, 1]; None
            without labels, or where a value is predicted.
        macro_f1: Its macro F1, in [0, 1]; None without labels, or where no label is
            predicted.
        scores: The task's own figures of the unmasked model, by name.
        value: What counts as near, for a value; None for other tasks.
        max_answer_tokens: Longest answer to a question, tokens; other tasks have none.
        no_answer_threshold: What no answer to a question must score over the best one,
            logits; None where every question has one.
        reference: Reference distributions by kind of gate.
        provenance: Where it came from.
        files: Digest of every other file of the bundle, by name.
    """

    id: _Name
    version: _Version
    task: TaskName = "text_classification"
    labels: Annotated[tuple[_Label, ...], msgspec.Meta(max_length=65_536)]
    max_tokens: Annotated[int, msgspec.Meta(ge=3, le=65_536)]
    takes_pairs: bool
    inputs: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)]
    states: Annotated[tuple[_Label, ...], msgspec.Meta(min_length=1, max_length=1024)]
    gates: GateDefinition = field(default_factory=GateDefinition)
    padding: Literal["any", "right"]
    graphs: Mapping[Precision, Graph]
    default_graph: Precision
    parity: Parity
    probes: Mapping[Literal["input", "hidden"], ProbeReport]
    accuracy: Share | None
    macro_f1: Share | None
    scores: Mapping[str, float] = field(default_factory=dict)
    value: ValueDefinition | None = None
    max_answer_tokens: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 30
    no_answer_threshold: float | None = None
    reference: References
    provenance: Provenance
    files: Annotated[Mapping[_FileName, File], msgspec.Meta(max_length=64)] = field(
        default_factory=dict
    )
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Check what one field says against another."""
        if self.default_graph not in self.graphs:
            raise ValueError(
                f"default_graph {self.default_graph!r} is not among graphs"
            )
        if len(set(self.states)) < len(self.states):
            raise ValueError("states holds a name twice")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels holds a name twice")
        for kind, report in self.probes.items():
            if tuple(state.state for state in report.states) != self.states:
                raise ValueError(f"probes.{kind}.states does not match states")
        for reference in self.reference.values():
            if reference.histograms is not None:
                reference.histograms.check(
                    num_labels=len(self.labels), num_states=len(self.states)
                )
        self._check_task()

    def _check_task(self) -> None:
        least, most = _NUM_LABELS_BY_TASK[self.task]
        if not least <= len(self.labels) <= most:
            raise ValueError(
                f"labels holds {len(self.labels)} names, which {self.task} cannot have"
            )
        if (self.value is not None) != (self.task == "regression"):
            raise ValueError("value is for regression, and for nothing else")
        if self.task == "question_answering" and not self.takes_pairs:
            raise ValueError("takes_pairs must be true for question_answering")

    def to_json(self) -> bytes:
        """Return the manifest as indented JSON, keys in field order, newline last."""
        text = json.dumps(msgspec.to_builtins(self), indent=1, ensure_ascii=False)
        return (text + "\n").encode()


def parse_manifest(raw: bytes) -> Manifest:
    """Read a manifest and check every value.

    Args:
        raw: The bytes of `manifest.json`.

    Raises:
        ManifestError: It is not JSON, or a value is missing or wrong.
        SchemaVersionError: It was written under a later schema.
    """
    try:
        header = parse_json(raw)
    except ValueError as error:
        raise ManifestError(f"not valid JSON ({error})", path="$") from error
    version = header.get("schema_version") if isinstance(header, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ManifestError("must be a positive whole number", path="$.schema_version")
    if version > SCHEMA_VERSION:
        raise SchemaVersionError(
            f"manifest.json has schema version {version}; this release reads up to"
            f" {SCHEMA_VERSION}. Upgrade diffmask-service or export the bundle again."
        )
    try:
        return msgspec.convert(header, Manifest)
    except msgspec.ValidationError as error:
        message, path = _split_path(str(error))
        raise ManifestError(message, path=path) from error


def _split_path(message: str) -> tuple[str, str]:
    # msgspec writes "<what> - at `$.some.path`".
    found = re.fullmatch(r"(.*) - at `(?:key in )?`?(.*?)`+", message, re.DOTALL)
    return (found[1], found[2]) if found else (message, "$")
