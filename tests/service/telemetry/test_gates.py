import numpy as np
import pytest

from diffmask_service.core.values import ModelIdentity, Outputs
from diffmask_service.telemetry import Telemetry
from tests.support.replies import bare_explanation, explanation

IDENTITY = ModelIdentity(id="tiny", version="3", digest="0" * 64, precision="fp32")
GATES = np.array(
    [[1.0, 0.5, 0.01, 0.0], [0.9921875, 0.125, 0.5, 0.25]], dtype=np.float32
)
OUTPUTS = Outputs(
    logits=np.zeros((1, 2), np.float32), input_gates=GATES[None], hidden_gates=None
)


def counted(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    labels = {"model": "tiny", "version": "3", **labels}
    return telemetry.registry.get_sample_value(name, labels)


@pytest.mark.parametrize(
    ("state", "openness", "kept", "saturated"),
    [("a", 1.51, 2, 3), ("b", 1.8671875, 2, 1)],
)
def test_gates_add_up_by_state(
    state: str, openness: float, kept: int, saturated: int
) -> None:
    telemetry = Telemetry()
    model = telemetry.for_model(IDENTITY, states=("a", "b"), threshold=0.5)
    for _ in range(2):
        model.count_text(bare_explanation(), OUTPUTS)
    found = {
        what: counted(
            telemetry, f"diffmask_gate_{what}_total", kind="input", state=state
        )
        for what in ("openness", "kept_tokens", "saturated_tokens", "tokens")
    }
    assert found == {
        "openness": pytest.approx(2 * openness),
        "kept_tokens": 2 * kept,
        "saturated_tokens": 2 * saturated,
        "tokens": 8,
    }


def test_states_can_be_added_up() -> None:
    telemetry = Telemetry(by_state=False)
    model = telemetry.for_model(IDENTITY, states=("a", "b"), threshold=0.5)
    model.count_text(bare_explanation(), OUTPUTS)
    labels = {"kind": "input", "state": "all"}
    tokens = counted(telemetry, "diffmask_gate_tokens_total", **labels)
    kept = counted(telemetry, "diffmask_gate_kept_tokens_total", **labels)
    assert (tokens, kept) == (8, 4)
    labels["state"] = "a"
    assert counted(telemetry, "diffmask_gate_tokens_total", **labels) is None


def test_an_engine_that_closes_leaves_what_it_counted_to_its_successor() -> None:
    telemetry = Telemetry()
    gatherers = telemetry.registry.gatherers.copy()
    old, new = (
        telemetry.for_model(IDENTITY, states=("a", "b"), threshold=0.5)
        for _ in range(2)
    )
    old.count_text(bare_explanation(), OUTPUTS)
    old.close()
    new.count_text(bare_explanation(), OUTPUTS)
    labels = {"kind": "input", "state": "a"}
    assert counted(telemetry, "diffmask_gate_tokens_total", **labels) == 8
    new.close()
    assert counted(telemetry, "diffmask_gate_tokens_total", **labels) is None
    assert telemetry.registry.gatherers == gatherers


def test_a_scrape_of_some_families_is_up_to_date() -> None:
    telemetry = Telemetry()
    model = telemetry.for_model(IDENTITY, states=("a", "b"), threshold=0.5)
    model.count_text(bare_explanation(), OUTPUTS)
    some = telemetry.registry.restricted_registry(["diffmask_gate_tokens_total"])
    assert [
        sample.value
        for family in some.collect()
        for sample in family.samples
        if sample.name == "diffmask_gate_tokens_total"
        and sample.labels["kind"] == "input"
    ] == [4, 4]


def test_kept_tokens_are_those_of_the_aggregate_score() -> None:
    telemetry = Telemetry()
    model = telemetry.for_model(IDENTITY, states=("a", "b"), threshold=0.5)
    model.count_text(bare_explanation(), OUTPUTS)
    # The means over both states are 0.996, 0.3125, 0.255 and 0.125.
    assert counted(telemetry, "diffmask_kept_tokens_sum") == 1


def test_texts_are_told_apart_by_whether_gates_were_asked_for() -> None:
    telemetry = Telemetry()
    model = telemetry.for_model(IDENTITY, states=("a", "b"), threshold=0.5)
    model.count_text(bare_explanation(), OUTPUTS)
    bare = Outputs(logits=OUTPUTS.logits, input_gates=None, hidden_gates=None)
    for _ in range(2):
        model.count_text(bare_explanation(), bare)
    name = "diffmask_texts_total"
    assert counted(telemetry, name, is_explained="true") == 1
    assert counted(telemetry, name, is_explained="false") == 2


def test_verifications_are_counted_with_their_divergence() -> None:
    telemetry = Telemetry()
    model = telemetry.for_model(IDENTITY, states=("a", "b"), threshold=0.5)
    model.count_text(explanation(), OUTPUTS)
    agreeing = "diffmask_verifications_total"
    assert counted(telemetry, agreeing, is_agreeing="true") == 1
    assert counted(telemetry, agreeing, is_agreeing="false") == 0
    total = counted(telemetry, "diffmask_verification_divergence_nats_sum")
    assert total == 0.03125
