"""Everything that a report holds, measured on a classifier and its two probes."""

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch

from diffmask_training.batches import Encoding
from diffmask_training.checkpoint import FittedProbe
from diffmask_training.classifier import Classifier
from diffmask_training.config import EvaluateConfig
from diffmask_training.encoder import Encoder
from diffmask_training.errors import DataError
from diffmask_training.evaluation import evaluate_probe
from diffmask_training.explained import ExplainedText, explain_texts, is_measurable
from diffmask_training.faithfulness.complexity import measure_complexity
from diffmask_training.faithfulness.masks import (
    MaskSettings,
    measure_hidden_masks,
    measure_input_masks,
)
from diffmask_training.faithfulness.rankings import (
    RankingSettings,
    measure_rankings,
)
from diffmask_training.figures import Figures
from diffmask_training.integrated_gradients import integrated_gradients
from diffmask_training.leakage.checks import check_leakage
from diffmask_training.leakage.settings import LeakageSettings
from diffmask_training.leakage.verdicts import Check
from diffmask_training.metrics.fidelity import mask_text
from diffmask_training.probes import Probe, ProbeKind
from diffmask_training.removal import removal_by
from diffmask_training.reports.values import (
    Example,
    ExampleToken,
    Provenance,
    Report,
)
from diffmask_training.splits import Splits

_PACKAGES = ("diffmask-service", "torch", "transformers", "scikit-learn", "scipy")
# Texts that are shown whole: so many of the worst, and as many of the others.
_NUM_EXAMPLES = 4


ItemT = TypeVar("ItemT")


class Track(Protocol):
    """Shows how far some work is."""

    def __call__(self, items: Sequence[ItemT], what: str) -> Iterable[ItemT]:
        """Return the items in their order; `what` names the work."""
        ...


def _untracked(items: Sequence[ItemT], what: str) -> Iterable[ItemT]:
    del what
    return items


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who is told of figures before the report is whole; nobody by default.

    Attributes:
        track: Shows the progress.
        on_figures: Told the hard masks of a kind of probe once they are measured.
    """

    track: Track = _untracked
    on_figures: Callable[[ProbeKind, Figures], None] = lambda _kind, _figures: None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
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


def measure(
    config: EvaluateConfig,
    classifier: Classifier,
    fitted: Mapping[ProbeKind, FittedProbe],
    splits: Splits,
    *,
    watch: Watch | None = None,
) -> Report:
    """Measure what the settings ask for.

    Args:
        config: Which figures, on how many texts.
        classifier: The frozen model.
        fitted: A probe of either kind.
        splits: The test texts, and for leakage the training texts.
        watch: Told how far it is.

    Raises:
        DataError: There are too few test texts for an interval.
        MetricError: There are too few texts of some predicted label for leakage.
        ConfigError: A comparison needs a package that is not installed.
    """
    watch = watch or Watch()
    tests = classifier.encode(splits.test, config.max_train_tokens)
    if config.max_texts:
        tests = _draw(tests, config.max_texts, config.seed)
    subject = _Subject(
        config=config,
        classifier=classifier,
        fast=_in_precision_of(config, classifier),
        fitted=fitted,
        tests=tests,
    )
    figures = {}
    for kind, each in fitted.items():
        track = partial(watch.track, what=f"{kind} gates, all test texts")
        figures[kind] = evaluate_probe(classifier, each, tests, track=track)
        watch.on_figures(kind, figures[kind])
    # Other tasks have the figures of hard masks, and a page has more to show.
    has_labels = is_measurable(classifier)
    is_deep = config.html is not None or (config.report is not None and has_labels)
    chosen = _draw(tests, config.texts if is_deep else 0, config.seed)
    report = Report(provenance=_provenance(subject, len(chosen)), figures=figures)
    # First what may find too few texts of a label: the rest can take hours.
    if config.leakage:
        leakage = _leakage(subject, splits)
        report = dataclasses.replace(report, leakage=leakage)
    if chosen:
        report = _with_intervals(report, subject, chosen, watch.track)
    return report


def _with_intervals(
    report: Report, subject: _Subject, chosen: Sequence[Encoding], track: Track
) -> Report:
    config, classifier, fast = subject.config, subject.classifier, subject.fast
    texts = explain_texts(classifier, subject.probes, chosen)
    margin = float(subject.fitted["hidden"].record.config["margin"])
    states, baseline = classifier.encoder.states, subject.baseline
    scores = {"DiffMask": [text.score[text.words] for text in texts]}
    if "integrated-gradients" in config.compare:
        scores["integrated gradients"] = [
            integrated_gradients(classifier, text)
            for text in track(texts, "integrated gradients")
        ]
    return dataclasses.replace(
        report,
        masks=(
            *measure_input_masks(
                fast,
                texts,
                states=states,
                baseline=baseline,
                settings=MaskSettings(margin=subject.margin, seed=config.seed),
                track=partial(track, what="input masks beside random ones"),
            ),
            *measure_hidden_masks(
                fast,
                subject.probes["hidden"],
                texts,
                settings=MaskSettings(margin=margin, seed=config.seed),
            ),
        ),
        rankings=measure_rankings(
            fast,
            texts,
            scores,
            baseline=baseline,
            settings=RankingSettings(
                extent="all" if config.thorough else "main",
                random_orders=config.random_orders,
                seed=config.seed,
            ),
            track=partial(track, what="orders of words"),
        ),
        complexity=measure_complexity(
            texts, scores, states=states, labels=classifier.labels, seed=config.seed
        ),
        examples=_examples(subject, texts),
    )


def _in_precision_of(config: EvaluateConfig, classifier: Classifier) -> Classifier:
    if config.precision == "fp32":
        return classifier
    fast = Encoder(copy.deepcopy(classifier.encoder.model).bfloat16())
    fast.task = classifier.encoder.task
    return dataclasses.replace(classifier, encoder=fast)


def _leakage(subject: _Subject, splits: Splits) -> tuple[Check, ...]:
    config, classifier = subject.config, subject.classifier
    train = classifier.encode(splits.train, config.max_train_tokens)
    explained = [
        explain_texts(
            classifier, subject.probes, _draw(each, config.leakage_texts, config.seed)
        )
        for each in (train, subject.tests)
    ]
    return check_leakage(
        classifier,
        explained[0],
        explained[1],
        baseline=subject.baseline,
        settings=LeakageSettings(seed=config.seed),
    )


def _draw(encodings: Sequence[Encoding], count: int, seed: int) -> list[Encoding]:
    if count == 0:
        return []
    if len(encodings) < 2:
        raise DataError(
            f"{len(encodings)} texts are too few for an interval; name a larger file,"
            " or ask for none with --texts 0"
        )
    order = np.random.default_rng(seed).permutation(len(encodings))
    return [encodings[index] for index in order[:count]]


def _examples(subject: _Subject, texts: Sequence[ExplainedText]) -> tuple[Example, ...]:
    examples = [_example(subject, text) for text in texts]
    worst = sorted(examples, key=lambda one: -one.divergence)[:_NUM_EXAMPLES]
    others = [one for one in examples if one not in worst][:_NUM_EXAMPLES]
    return (*worst, *others)


def _example(subject: _Subject, text: ExplainedText) -> Example:
    predict = removal_by(
        "learned_baseline",
        subject.fast,
        text.encoding,
        baseline=subject.baseline,
    )
    mask = text.score_mask
    masked = mask_text(predict, mask)
    return Example(
        tokens=tuple(
            ExampleToken(
                text=token,
                score=float(text.score[index]),
                gates=tuple(text.gates["input"][:, index].tolist()),
                is_special=bool(text.is_special[index]),
                is_kept=bool(mask[index]),
            )
            for index, token in enumerate(text.tokens)
        ),
        label=subject.classifier.labels[text.label],
        probability=float(text.probabilities[text.label]),
        kept_probability=float(predict(mask[None])[0, text.label]),
        divergence=masked.divergence,
        is_agreeing=masked.is_agreeing,
    )


def _provenance(subject: _Subject, num_texts: int) -> Provenance:
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
