"""The bundle: the one thing that training and service share.

A directory with a manifest, graphs, a tokenizer, a self-test and a model card; no
pickle, no code, no external tensor data. Training writes it, the service reads it, and
every byte is vouched for by a digest in the manifest.
"""

from diffmask_service.bundle.archive import (
    Bundle,
    check_target,
    read_bundle,
    read_bundle_in,
    read_manifest_in,
    write_bundle,
)
from diffmask_service.bundle.graph import (
    DISABLED_OPTIMIZERS_BY_DEVICE,
    check_graph,
    cut_graph,
    prediction_outputs,
)
from diffmask_service.bundle.manifest import (
    NAME_PATTERN,
    VERSION_PATTERN,
    GateDefinition,
    Graph,
    GraphFidelity,
    Manifest,
    Parity,
    Precision,
    Provenance,
    TaskName,
    ValueDefinition,
    parse_manifest,
)
from diffmask_service.bundle.plain_files import Facts, PlainFolder, open_folder
from diffmask_service.bundle.reference import (
    MAX_HISTOGRAM_LABELS,
    ReferenceDistribution,
    References,
    TextHistograms,
    count_texts,
)
from diffmask_service.bundle.selftest import SelfTest, SelfTestCase
from diffmask_service.bundle.training_report import (
    FitVerdict,
    LeakageReport,
    ProbeReport,
    StateLeakage,
    StateReport,
)
from diffmask_service.core.drift import gate_figures
from diffmask_service.core.spans import NO_ANSWER_TOKEN, find_answer

__all__ = [
    "DISABLED_OPTIMIZERS_BY_DEVICE",
    "MAX_HISTOGRAM_LABELS",
    "NAME_PATTERN",
    "NO_ANSWER_TOKEN",
    "VERSION_PATTERN",
    "Bundle",
    "Facts",
    "FitVerdict",
    "GateDefinition",
    "Graph",
    "GraphFidelity",
    "LeakageReport",
    "Manifest",
    "Parity",
    "PlainFolder",
    "Precision",
    "ProbeReport",
    "Provenance",
    "ReferenceDistribution",
    "References",
    "SelfTest",
    "SelfTestCase",
    "StateLeakage",
    "StateReport",
    "TaskName",
    "TextHistograms",
    "ValueDefinition",
    "check_graph",
    "check_target",
    "count_texts",
    "cut_graph",
    "find_answer",
    "gate_figures",
    "open_folder",
    "parse_manifest",
    "prediction_outputs",
    "read_bundle",
    "read_bundle_in",
    "read_manifest_in",
    "write_bundle",
]
