"""A probe that encodes the label is caught whatever its seed; an honest one is not."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from diffmask_training.batches import collate
from diffmask_training.classifier import Classifier
from diffmask_training.errors import MetricError
from diffmask_training.explained import ExplainedText, explain_texts
from diffmask_training.leakage.checks import check_baseline, check_leakage
from diffmask_training.leakage.evaluator import EvaluatorSettings
from diffmask_training.leakage.patterns import check_patterns
from diffmask_training.leakage.settings import LeakageSettings
from diffmask_training.leakage.verdicts import Check, overall
from diffmask_training.probes import Probe
from tests.support.checkpoint import BAD, GOOD
from tests.support.probes import random_probe, taught_probe
from tests.support.trained import encodings_of_records, scattered_records

SETTINGS = LeakageSettings(
    evaluator=EvaluatorSettings(epochs=6, learning_rate=1e-3),
)
LAST = "block_2"


def _first_or_last(text: ExplainedText) -> NDArray[np.bool_]:
    """The first token for one label, the last for the other: no word of the text."""
    keep = np.zeros(len(text.tokens), dtype=np.bool_)
    keep[0 if text.label == 0 else -1] = True
    return keep


def _telling(text: ExplainedText) -> NDArray[np.bool_]:
    return np.array([token in {*GOOD, *BAD} for token in text.tokens])


def _explained(
    classifier: Classifier, probe: Probe, *, seed: int
) -> tuple[ExplainedText, ...]:
    hidden = random_probe(classifier, "hidden")
    encodings = encodings_of_records(classifier, scattered_records(160, seed=seed))
    return explain_texts(classifier, {"input": probe, "hidden": hidden}, encodings)


def _checked(
    classifier: Classifier,
    target: Callable[[ExplainedText], NDArray[np.bool_]],
    seed: int,
) -> tuple[Check, ...]:
    learned_from = encodings_of_records(classifier, scattered_records(100, seed=90))
    probe = taught_probe(classifier, learned_from, target, seed=seed)
    return check_leakage(
        classifier,
        _explained(classifier, probe, seed=100 + seed),
        _explained(classifier, probe, seed=200 + seed),
        baseline=probe.baseline(0).detach(),
        settings=SETTINGS,
    )


def _verdicts(checks: Sequence[Check], test: str) -> dict[str, str]:
    return {
        check.state: check.verdict
        for check in checks
        if check.test == test and check.kind == "input"
    }


@pytest.mark.parametrize("seed", range(3))
def test_probe_that_encodes_the_label_is_caught(trained: Classifier, seed: int) -> None:
    checks = _checked(trained, _first_or_last, seed)
    assert overall(checks) == "leak"
    for test in ("mask_only", "encode_meter"):
        verdicts = _verdicts(checks, test)
        # Caught at the state that leaks; the lowest keep every token.
        assert verdicts[LAST] == "leak"
        assert verdicts["embeddings"] == "pass"


@pytest.mark.parametrize("seed", range(3))
def test_honest_probe_is_not(trained: Classifier, seed: int) -> None:
    checks = _checked(trained, _telling, seed)
    leaks = [c for c in checks if c.verdict == "leak" and c.kind == "input"]
    assert leaks == []


def test_code_in_the_number_of_kept_tokens_is_caught(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    # No single feature tells an odd number from an even one.
    generator = np.random.default_rng(0)
    planted = []
    for text in explained * 10:
        tokens = len(text.tokens)
        count = 2 * int(generator.integers(tokens // 2)) + text.label
        keep = generator.permutation(np.arange(tokens) < count)
        gates = np.repeat(keep[None].astype(np.float32), 4, axis=0)
        planted.append(dataclasses.replace(text, gates={"hidden": gates}))
    checks = check_patterns(
        planted, "hidden", trained.encoder.states, LeakageSettings()
    )
    assert {check.verdict for check in checks} == {"leak"}
    assert "forest" in checks[0].detail


def _prompt(classifier: Classifier, text: ExplainedText) -> torch.Tensor:
    """Return a word vector of which a whole text is positive beyond doubt."""
    vector = torch.zeros(32, requires_grad=True)
    optimizer = torch.optim.Adam([vector], lr=0.05)
    inputs = collate([text.encoding], pad_id=0).inputs
    for _ in range(60):
        words = vector.expand(1, len(text.tokens), -1)
        logits = classifier.encoder.run_from(inputs, 0, words)
        optimizer.zero_grad()
        torch.autograd.backward(functional.cross_entropy(logits, torch.tensor([1])))
        optimizer.step()
    return vector.detach()


def test_baseline_that_says_a_label_is_caught(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    check = check_baseline(
        trained,
        explained,
        baseline=_prompt(trained, explained[0]),
        settings=LeakageSettings(),
    )
    assert check.verdict == "leak"
    assert "nothing but the baseline is positive" in check.detail


def test_baseline_that_says_nothing_is_not(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    mask = trained.encoder.model.get_input_embeddings().weight[
        trained.tokenizer.mask_token_id
    ]
    check = check_baseline(
        trained, explained, baseline=mask, settings=LeakageSettings()
    )
    assert check.verdict == "pass"


def test_one_label_alone_is_refused(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    positive = [text for text in explained if text.label == 1]
    with pytest.raises(MetricError, match="two labels"):
        check_patterns(positive, "input", trained.encoder.states, LeakageSettings())
