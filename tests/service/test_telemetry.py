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
from diffmask_service.telemetry import OUTCOMES, Telemetry, outcome_of

IDENTITY = ModelIdentity(id="tiny", version="3", digest="0" * 64, precision="fp32")


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


def test_every_series_is_there_before_traffic() -> None:
    telemetry = Telemetry()
    telemetry.for_model(IDENTITY, states=("a", "b"), threshold=0.5)
    registry = telemetry.registry
    for outcome in OUTCOMES:
        labels = {"model": "tiny", "outcome": outcome}
        assert registry.get_sample_value("diffmask_requests_total", labels) == 0
    for state in ("a", "b"):
        for kind in ("input", "hidden"):
            labels = {"model": "tiny", "kind": kind, "state": state}
            name = "diffmask_gate_openness_total"
            assert registry.get_sample_value(name, labels) == 0


def test_names_follow_the_house_rules() -> None:
    telemetry = Telemetry()
    telemetry.for_model(IDENTITY, states=("a",), threshold=0.5)
    for family in telemetry.registry.collect():
        assert re.fullmatch(r"(diffmask|grpc_server)_[a-z_]+", family.name)
        assert "milli" not in family.name
        if family.type == "histogram":
            assert re.search(r"_(seconds|texts|nats)$", family.name)


def test_the_model_is_named_by_its_labels() -> None:
    telemetry = Telemetry()
    model = telemetry.for_model(IDENTITY, states=("a",), threshold=0.5)
    labels = {
        "model": "tiny",
        "version": "3",
        "digest": "0" * 64,
        "precision": "fp32",
    }
    assert telemetry.registry.get_sample_value("diffmask_model_info", labels) == 1
    model.set_ready(is_ready=True)
    ready = telemetry.registry.get_sample_value(
        "diffmask_model_ready", {"model": "tiny"}
    )
    assert ready == 1
