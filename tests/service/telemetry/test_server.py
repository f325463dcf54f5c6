import asyncio
import re

import pytest

from diffmask_service.core.values import ModelIdentity
from diffmask_service.errors import (
    DeadlineError,
    InferenceError,
    InvalidInput,
    NotReadyError,
    OverloadedError,
)
from diffmask_service.telemetry import OUTCOMES, ModelTelemetry, Telemetry, outcome_of

IDENTITY = ModelIdentity(id="tiny", version="3", digest="0" * 64, precision="fp32")


def load(telemetry: Telemetry, identity: ModelIdentity = IDENTITY) -> ModelTelemetry:
    return telemetry.for_model(identity, states=("a", "b"), threshold=0.5)


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    labels = {"model": "tiny", "version": "3", **labels}
    return telemetry.registry.get_sample_value(name, labels)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (InvalidInput("x"), "invalid"),
        (OverloadedError("x", retry_after_seconds=1.0), "overloaded"),
        (NotReadyError("x"), "not_ready"),
        (DeadlineError("x"), "expired"),
        (asyncio.CancelledError(), "cancelled"),
        (InferenceError("x"), "failed"),
        (KeyError("x"), "failed"),
    ],
)
def test_every_ending_has_an_outcome(error: BaseException, outcome: str) -> None:
    assert outcome_of(error) == outcome
    assert outcome in OUTCOMES


def test_every_series_is_at_zero_before_traffic() -> None:
    telemetry = Telemetry()
    telemetry.expect_call("a.B", "C")
    load(telemetry)
    at_start = {
        "diffmask_build_info": 1,
        "diffmask_model_info": 1,
        "diffmask_model_load_timestamp_seconds": None,
    }
    for family in telemetry.registry.collect():
        assert family.samples, family.name
        for sample in family.samples:
            expected = at_start.get(sample.name, 0)
            assert expected in (None, sample.value), sample


def test_no_call_makes_a_series() -> None:
    telemetry = Telemetry()
    telemetry.expect_call("a.B", "C")
    before = {s.name for f in telemetry.registry.collect() for s in f.samples}
    count = sum(len(family.samples) for family in telemetry.registry.collect())
    for code in ("OK", "UNAUTHENTICATED", "DATA_LOSS"):
        telemetry.begin_call("a.B", "C")
        telemetry.end_call("a.B", "C", code=code, seconds=0.1)
    after = {s.name for f in telemetry.registry.collect() for s in f.samples}
    assert before == after
    assert count == sum(len(f.samples) for f in telemetry.registry.collect())


def test_names_follow_the_house_rules() -> None:
    telemetry = Telemetry()
    load(telemetry)
    for family in telemetry.registry.collect():
        assert re.fullmatch(r"(diffmask|grpc_server)_[a-z_]+", family.name)
        assert "milli" not in family.name
        if family.type == "histogram":
            units = r"_(seconds|texts|tokens|nats|ratio)$"
            assert re.search(units, family.name)


def test_the_model_is_named_by_its_labels() -> None:
    telemetry = Telemetry()
    model = load(telemetry)
    labels = {"digest": "0" * 64, "precision": "fp32"}
    assert value(telemetry, "diffmask_model_info", **labels) == 1
    model.set_ready(is_ready=True)
    assert value(telemetry, "diffmask_model_ready") == 1


def test_versions_stand_beside_each_other_and_leave_alone() -> None:
    telemetry = Telemetry()
    old = load(telemetry)
    other = ModelIdentity(id="tiny", version="4", digest="1" * 64, precision="fp32")
    new = load(telemetry, other)
    new.count_run(num_texts=1, num_masked=0, num_tokens=7)
    assert value(telemetry, "diffmask_tokens_total") == 0
    assert value(telemetry, "diffmask_tokens_total", version="4") == 7
    old.close()
    assert value(telemetry, "diffmask_tokens_total") is None
    assert value(telemetry, "diffmask_tokens_total", version="4") == 7
    new.close()
    left = {s.name for f in telemetry.registry.collect() for s in f.samples}
    assert left == {"diffmask_build_info"}


def test_a_version_served_twice_keeps_its_series_until_both_are_closed() -> None:
    telemetry = Telemetry()
    first, second = load(telemetry), load(telemetry)
    first.count_run(num_texts=1, num_masked=0, num_tokens=2)
    second.count_run(num_texts=1, num_masked=0, num_tokens=3)
    first.close()
    assert value(telemetry, "diffmask_tokens_total") == 5
    second.close()
    assert value(telemetry, "diffmask_tokens_total") is None


def test_a_version_that_was_replaced_leaves_nothing_of_its_own() -> None:
    telemetry = Telemetry()
    old = load(telemetry)
    successor = ModelIdentity(id="tiny", version="3", digest="1" * 64, precision="fp32")
    new = telemetry.for_model(successor, states=("a", "c"), threshold=0.5)
    old.close()
    info, gates = "diffmask_model_info", "diffmask_gate_tokens_total"
    assert value(telemetry, info, digest="0" * 64, precision="fp32") is None
    assert value(telemetry, info, digest="1" * 64, precision="fp32") == 1
    shown = {s: value(telemetry, gates, kind="input", state=s) for s in "abc"}
    assert shown == {"a": 0, "b": None, "c": 0}
    new.close()
    left = {s.name for f in telemetry.registry.collect() for s in f.samples}
    assert left == {"diffmask_build_info"}


def test_padding_is_a_share_of_all_that_was_computed() -> None:
    telemetry = Telemetry()
    model = load(telemetry)
    model.count_run(
        num_texts=2, num_masked=0, num_tokens=30, num_padding=10, release="tokens"
    )
    assert value(telemetry, "diffmask_run_padding_ratio_sum") == 0.25
    assert value(telemetry, "diffmask_padding_tokens_total") == 10
    assert value(telemetry, "diffmask_run_release_total", reason="tokens") == 1


def test_the_queue_is_counted_at_each_scrape() -> None:
    telemetry = Telemetry()
    waiting = [1, 2]
    load(telemetry).watch_queue(lambda: len(waiting))
    assert value(telemetry, "diffmask_queue_texts") == 2
    waiting.clear()
    assert value(telemetry, "diffmask_queue_texts") == 0


def test_two_engines_of_a_version_do_not_write_over_each_other() -> None:
    telemetry = Telemetry()
    old = load(telemetry)
    old.set_ready(is_ready=True)
    old.watch_queue(lambda: 2)
    new = load(telemetry)
    new.set_ready(is_ready=True)
    new.watch_queue(lambda: 3)
    for model, num_tokens in ((old, 10), (new, 20)):
        model.begin_request()
        model.set_queue_tokens(num_tokens)
    # As when one takes over from the other.
    old.set_ready(is_ready=False)
    names = ("model_ready", "queue_texts", "queue_tokens", "inflight_requests")

    def shown() -> list[float | None]:
        return [value(telemetry, f"diffmask_{name}") for name in names]

    assert shown() == [1, 5, 30, 2]
    old.close()
    assert shown() == [1, 3, 20, 1]
    new.set_ready(is_ready=False)
    assert value(telemetry, "diffmask_model_ready") == 0
    new.close()
    assert shown() == [None] * 4
