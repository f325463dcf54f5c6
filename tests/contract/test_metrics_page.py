"""docs/metrics.md says what the registry holds."""

import re
from pathlib import Path

import numpy as np
from prometheus_client.metrics_core import Metric

from diffmask_service.core.values import ModelIdentity
from diffmask_service.telemetry import Telemetry
from diffmask_service.telemetry.drift import CHUNK_TEXTS, WINDOW_CHUNKS
from tests.support.drifting import NUM_STATES, random_reference
from tests.support.monitoring import rules

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
HEADER = (
    "| metric | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n"
)
IDENTITY = ModelIdentity(id="model", version="1", digest="0", precision="fp32")
UNITS = ("seconds", "requests", "texts", "tokens", "nats", "ratio")


def telemetry() -> Telemetry:
    made = Telemetry()
    made.expect_call("diffmask.v1.Explainer", "Explain")
    made.for_model(
        IDENTITY,
        states=tuple(f"state_{place}" for place in range(NUM_STATES)),
        threshold=0.5,
        labels=("negative", "positive"),
        references={"input": random_reference(np.random.default_rng(1), num_texts=2)},
    )
    return made


def row(metric: Metric) -> str:
    labels = sorted({name for sample in metric.samples for name in sample.labels})
    named = ", ".join(f"`{name}`" for name in labels if name != "le")
    name = metric.name + ("_total" if metric.type == "counter" else "")
    unit = next((unit for unit in UNITS if metric.name.endswith("_" + unit)), "-")
    return f"| `{name}` | {metric.type} | {unit} | {named} | {metric.documentation} |"


def test_every_metric_is_in_the_table() -> None:
    expected = [row(metric) for metric in telemetry().registry.collect()]
    assert HEADER in PAGE
    shown = PAGE.partition(HEADER)[2].partition("\n\n")[0].splitlines()
    assert shown == expected, "write these rows:\n" + "\n".join(expected)


def test_every_metric_named_in_the_text_exists() -> None:
    names = {
        re.sub(r"_(bucket|sum|count)$", "", sample.name)
        for metric in telemetry().registry.collect()
        for sample in metric.samples
    }
    quoted = set(re.findall(r"\b(?:diffmask|grpc_server)_[a-z_]+\b", PAGE))
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in quoted}
    assert bare <= names | {"diffmask_service"}


def test_every_alert_is_in_the_table() -> None:
    shown = re.findall(r"^\| `(DiffMask\w+)` \|", PAGE, re.MULTILINE)
    assert shown == [rule["alert"] for rule in rules() if "alert" in rule]


def test_the_window_is_the_one_described() -> None:
    assert f"last {WINDOW_CHUNKS} chunks of {CHUNK_TEXTS} texts" in PAGE
