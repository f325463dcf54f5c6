from typing import Literal

import numpy as np
import pytest

from diffmask_service.bundle import References
from diffmask_service.core.values import Explanation, ModelIdentity, Outputs
from diffmask_service.telemetry import ModelTelemetry, Telemetry
from diffmask_service.telemetry.drift import CHUNK_TEXTS, WINDOW_CHUNKS, Window
from tests.support.drifting import NUM_STATES, random_gates, random_reference
from tests.support.replies import LABELS, prediction

IDENTITY = ModelIdentity(id="tiny", version="3", digest="0" * 64, precision="fp32")
STATES = tuple(f"state_{place}" for place in range(NUM_STATES))
INPUT: Literal["input"] = "input"
LOGITS = np.zeros((1, 2), np.float32)


def watch(
    telemetry: Telemetry, references: References, labels: tuple[str, ...] = LABELS
) -> ModelTelemetry:
    return telemetry.for_model(
        IDENTITY, states=STATES, threshold=0.5, labels=labels, references=references
    )


def send(
    model: ModelTelemetry,
    generator: np.random.Generator,
    *,
    num_texts: int,
    lift: float = 0.0,
) -> None:
    for place in range(num_texts):
        label = place % 2
        said = prediction(positive=0.9 if label else 0.1)
        gates = random_gates(generator, label_index=label, lift=lift)
        model.count_text(
            Explanation(prediction=said, num_tokens=gates.shape[1], is_truncated=False),
            Outputs(logits=LOGITS, input_gates=gates[None], hidden_gates=None),
        )


def drift(
    telemetry: Telemetry, name: str = "diffmask_state_drift_ratio"
) -> list[float]:
    return [
        sample.value
        for family in telemetry.registry.collect()
        for sample in family.samples
        if sample.name == name
    ]


def test_a_planted_shift_is_seen_within_1000_texts() -> None:
    generator = np.random.default_rng(5)
    telemetry = Telemetry()
    model = watch(telemetry, {INPUT: random_reference(generator)})
    send(model, generator, num_texts=1500)
    assert 0 < max(drift(telemetry)) < 1
    send(model, generator, num_texts=1000, lift=1.5)
    assert max(drift(telemetry)) > 1
    assert max(drift(telemetry, "diffmask_label_drift_ratio")) == max(drift(telemetry))


def test_a_shift_that_has_passed_leaves_the_window() -> None:
    generator = np.random.default_rng(6)
    telemetry = Telemetry()
    model = watch(telemetry, {INPUT: random_reference(generator)})
    send(model, generator, num_texts=1000, lift=2.0)
    assert max(drift(telemetry)) > 1
    send(model, generator, num_texts=2 * WINDOW_CHUNKS * CHUNK_TEXTS)
    assert max(drift(telemetry)) < 1


def test_texts_behind_the_figures_are_told() -> None:
    generator = np.random.default_rng(7)
    telemetry = Telemetry()
    model = watch(telemetry, {INPUT: random_reference(generator)})
    expected = [0.0, 0.0]
    assert drift(telemetry, "diffmask_drift_texts") == expected
    for chunks in (1, 2, 3, 4, 4):
        send(model, generator, num_texts=2 * CHUNK_TEXTS)
        expected = [float(chunks * CHUNK_TEXTS)] * 2
        assert drift(telemetry, "diffmask_drift_texts") == expected


def test_a_bundle_without_histograms_shows_no_drift() -> None:
    from tests.support.tiny import tiny_manifest  # noqa: PLC0415

    telemetry = Telemetry()
    watch(telemetry, tiny_manifest().reference)
    assert not any("drift" in family.name for family in telemetry.registry.collect())


def test_many_labels_are_watched_together() -> None:
    generator = np.random.default_rng(8)
    labels = tuple(f"label_{place}" for place in range(20))
    telemetry = Telemetry()
    reference = random_reference(generator, num_labels=20)
    model = watch(telemetry, {INPUT: reference}, labels)
    send(model, generator, num_texts=CHUNK_TEXTS)
    assert drift(telemetry, "diffmask_drift_texts") == [CHUNK_TEXTS]


def test_a_label_without_reference_texts_is_not_watched() -> None:
    generator = np.random.default_rng(9)
    telemetry = Telemetry()
    reference = random_reference(generator, num_labels=1)
    histograms = reference.histograms
    assert histograms is not None
    empty = tuple((0,) * len(row) for row in histograms.kept_share[0])
    spoilt = type(histograms)(
        bin_edges=histograms.bin_edges,
        kept_share=(histograms.kept_share[0], empty),
        mean_gate=(histograms.mean_gate[0], empty),
    )
    two = type(reference)(
        num_texts=(400, 0),
        mean_gate=reference.mean_gate * 2,
        kept_share=reference.kept_share * 2,
        histograms=spoilt,
    )
    model = watch(telemetry, {INPUT: two})
    send(model, generator, num_texts=4 * CHUNK_TEXTS)
    texts = dict(zip(LABELS, drift(telemetry, "diffmask_drift_texts"), strict=True))
    assert texts == {"negative": 2 * CHUNK_TEXTS, "positive": 0}


@pytest.mark.parametrize("num_reference", [60, 400])
def test_a_week_of_unshifted_texts_raises_no_alarm(num_reference: int) -> None:
    # 1,000 windows of real size against references that are samples themselves: as
    # many as a server of a text in five seconds fills in a week. Texts of a state are
    # alike in their mean only, as bins are all that counts.
    generator = np.random.default_rng(num_reference)
    shape = (2, NUM_STATES, 19)
    chances = generator.dirichlet(np.full(19, 0.3), size=shape[:2])
    largest = 0.0
    for _ in range(40):
        reference = generator.multinomial(num_reference, chances)
        window = Window(reference, num_kinds=2)
        for _ in range(25):
            window.add_chunk(generator.multinomial(CHUNK_TEXTS, chances))
            largest = max(largest, float(window.ratios().max()))
    # Close enough that a bound without the texts' number or the tests' would fail.
    assert 0.3 < largest < 1
