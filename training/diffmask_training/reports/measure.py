"""Everything that a report holds, measured on a classifier and its two probes."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from diffmask_training.batches import Encoding
from diffmask_training.checkpoint import FittedProbe
from diffmask_training.classifier import Classifier
from diffmask_training.config import EvaluateConfig
from diffmask_training.errors import DataError
from diffmask_training.evaluation import evaluate_probe
from diffmask_training.explained import explain_texts, is_measurable
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
from diffmask_training.integrated_gradients import integrated_gradients
from diffmask_training.leakage.checks import check_leakage
from diffmask_training.leakage.settings import LeakageSettings
from diffmask_training.leakage.verdicts import Check
from diffmask_training.probes import ProbeKind
from diffmask_training.reports.examples import examples_of
from diffmask_training.reports.subject import Subject, in_precision_of, provenance_of
from diffmask_training.reports.values import Report
from diffmask_training.reports.watching import Track, Watch
from diffmask_training.splits import Splits


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
    subject = Subject(
        config=config,
        classifier=classifier,
        fast=in_precision_of(config, classifier),
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
    report = Report(provenance=provenance_of(subject, len(chosen)), figures=figures)
    # First what may find too few texts of a label: the rest can take hours.
    if config.leakage:
        leakage = _leakage(subject, splits)
        report = dataclasses.replace(report, leakage=leakage)
    if chosen:
        report = _with_intervals(report, subject, chosen, watch.track)
    return report


def _with_intervals(
    report: Report, subject: Subject, chosen: Sequence[Encoding], track: Track
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
        examples=examples_of(subject, texts),
    )


def _leakage(subject: Subject, splits: Splits) -> tuple[Check, ...]:
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
