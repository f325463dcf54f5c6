"""What a report is about."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from diffmask_training.batches import Encoding
from diffmask_training.checkpoint import FittedProbe
from diffmask_training.classifier import Classifier
from diffmask_training.config import EvaluateConfig
from diffmask_training.encoder import Encoder
from diffmask_training.probes import Probe, ProbeKind
from diffmask_training.reports.values import Provenance

_PACKAGES = ("diffmask-service", "torch", "transformers", "scikit-learn", "scipy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is measured.

    Attributes:
        config: Settings.
        classifier: The model.
        fast: The same in the precision of the masked runs.
        fitted: Its probes by kind.
        tests: The test texts.
    """

    config: EvaluateConfig
    classifier: Classifier
    fast: Classifier
    fitted: Mapping[ProbeKind, FittedProbe]
    tests: Sequence[Encoding]

    @property
    def probes(self) -> dict[ProbeKind, Probe]:
        """The probes by kind."""
        return {kind: each.probe for kind, each in self.fitted.items()}

    @property
    def baseline(self) -> torch.Tensor:
        """`[hidden]` float32. What the input probe puts in a masked token's place."""
        return self.fitted["input"].probe.baseline(0).detach()

    @property
    def margin(self) -> float:
        """Allowed divergence of the input probe's fit, nats."""
        return float(self.fitted["input"].record.config["margin"])


def in_precision_of(config: EvaluateConfig, classifier: Classifier) -> Classifier:
    """Return a classifier, or a copy of it in the precision of the masked runs."""
    if config.precision == "fp32":
        return classifier
    fast = Encoder(copy.deepcopy(classifier.encoder.model).bfloat16())
    fast.task = classifier.encoder.task
    return dataclasses.replace(classifier, encoder=fast)


def provenance_of(subject: Subject, num_texts: int) -> Provenance:
    """Say what a report was made of.

    Args:
        subject: What is measured.
        num_texts: Texts of the figures that have intervals.
    """
    config = subject.config
    return Provenance(
        checkpoint=str(config.checkpoint),
        probes=str(config.probes),
        labels=subject.classifier.labels,
        states=subject.classifier.encoder.states,
        margin=subject.margin,
        num_test_texts=len(subject.tests),
        num_texts=num_texts,
        seed=config.seed,
        random_orders=config.random_orders,
        is_feasible={
            kind: each.record.is_feasible for kind, each in subject.fitted.items()
        },
        versions={name: version(name) for name in _PACKAGES},
        config={
            name: str(value) if isinstance(value, Path) else value
            for name, value in dataclasses.asdict(config).items()
        },
    )
