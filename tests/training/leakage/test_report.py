"""What a manifest says of a probe that encodes the label, and of an honest one."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from diffmask_service.bundle import LeakageReport
from diffmask_training.classifier import Classifier
from diffmask_training.explained import ExplainedText, explain_texts
from diffmask_training.leakage.checks import check_baseline
from diffmask_training.leakage.report import report_leakage
from diffmask_training.leakage.settings import LeakageSettings
from diffmask_training.probes import Probe
from tests.support.probes import random_probe, taught_probe
from tests.support.trained import encodings_of_records, scattered_records

LAST = "block_2"


def _first_or_last(text: ExplainedText) -> NDArray[np.bool_]:
    keep = np.zeros(len(text.tokens), dtype=np.bool_)
    keep[0 if text.label == 0 else -1] = True
    return keep


def _report(classifier: Classifier, probe: Probe) -> LeakageReport:
    encodings = encodings_of_records(classifier, scattered_records(60, seed=7))
    texts = explain_texts(classifier, {"input": probe}, encodings)
    found = report_leakage(classifier, texts, kind="input", probe=probe)
    assert found is not None
    labels = np.bincount([text.label for text in texts])
    assert found.majority_share == pytest.approx(labels.max() / len(texts))
    expected = check_baseline(
        classifier,
        texts,
        baseline=probe.baseline(0).detach(),
        settings=LeakageSettings(),
    ).figure.mean
    for state in found.states.values():
        assert state.empty_probability == pytest.approx(expected, abs=1e-6)
    return found


def test_masks_that_encode_the_label_tell_it(trained: Classifier) -> None:
    learned_from = encodings_of_records(trained, scattered_records(100, seed=90))
    probe = taught_probe(trained, learned_from, _first_or_last, seed=0)
    found = _report(trained, probe)
    assert set(found.states) == set(trained.encoder.states)
    assert found.states[LAST].told_share > 0.95
    assert found.largest_gain > 0.4


def test_masks_that_keep_everything_tell_nothing(trained: Classifier) -> None:
    probe = random_probe(trained, "input")
    probe.bias.data.fill_(20.0)
    assert _report(trained, probe).largest_gain <= 0.0


def test_texts_of_one_label_are_not_measured(trained: Classifier) -> None:
    probe = random_probe(trained, "input")
    encodings = encodings_of_records(trained, scattered_records(60, seed=7))
    texts = [
        dataclasses.replace(text, probabilities=np.array([0.9, 0.1]))
        for text in explain_texts(trained, {"input": probe}, encodings)
    ]
    assert report_leakage(trained, texts, kind="input", probe=probe) is None
