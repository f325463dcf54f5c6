"""The bundle: the one thing that training and service share.

A directory with a manifest, graphs, a tokenizer, a self-test and a model card; no
pickle, no code, no external tensor data. Training writes it, the service reads it, and
every byte is vouched for by a digest in the manifest.
"""

from diffmask_service.bundle.archive import (
    Bundle,
    check_target,
    read_bundle,
    write_bundle,
)
from diffmask_service.bundle.graph import check_graph, cut_graph, prediction_outputs
from diffmask_service.bundle.manifest import (
    GateDefinition,
    Graph,
    GraphFidelity,
    Manifest,
    Parity,
    Precision,
    Provenance,
    ReferenceDistribution,
    TaskName,
    ValueDefinition,
)
from diffmask_service.bundle.selftest import SelfTest, SelfTestCase
from diffmask_service.bundle.training_report import (
    FitVerdict,
    ProbeReport,
    StateReport,
)
from diffmask_service.core.spans import NO_ANSWER_TOKEN, find_answer

__all__ = [
    "NO_ANSWER_TOKEN",
    "Bundle",
    "FitVerdict",
    "GateDefinition",
    "Graph",
    "GraphFidelity",
    "Manifest",
    "Parity",
    "Precision",
    "ProbeReport",
    "Provenance",
    "ReferenceDistribution",
    "SelfTest",
    "SelfTestCase",
    "StateReport",
    "TaskName",
    "ValueDefinition",
    "check_graph",
    "check_target",
    "cut_graph",
    "find_answer",
    "prediction_outputs",
    "read_bundle",
    "write_bundle",
]
