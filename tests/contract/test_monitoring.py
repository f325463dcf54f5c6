"""Rules and dashboard ask for what the registry holds."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from diffmask_service.core.values import ModelIdentity
from diffmask_service.telemetry import Telemetry
from tests.support.drifting import NUM_STATES, random_reference
from tests.support.programs import program

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
# What a scrape adds to every series.
_ADDED = {"instance", "job"}
_SELECTOR = re.compile(r"\b((?:diffmask|grpc_server)_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on|group_left)\s*\(([^)]*)\)")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [each for each in DASHBOARD["panels"] if each["type"] != "row"]


def queries() -> list[str]:
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [*(rule["expr"] for rule in rules()), *shown]


@pytest.fixture(scope="module")
def values_by_label_by_name() -> dict[str, dict[str, set[str]]]:
    """Every series name of a server, its labels, their values."""
    telemetry = Telemetry()
    telemetry.expect_call("diffmask.v1.Explainer", "Explain")
    telemetry.for_model(
        ModelIdentity(id="model", version="1", digest="0", precision="fp32"),
        states=tuple(f"state_{place}" for place in range(NUM_STATES)),
        threshold=0.5,
        labels=("negative", "positive"),
        references={
            kind: random_reference(np.random.default_rng(1), num_texts=2)
            for kind in ("input", "hidden")
        },
    )
    found: dict[str, dict[str, set[str]]] = {}
    for metric in telemetry.registry.collect():
        for sample in metric.samples:
            values_by_label = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                values_by_label.setdefault(label, set()).add(value)
    return found


@pytest.mark.parametrize("query", queries())
def test_query_names_series_labels_and_values_that_exist(
    query: str, values_by_label_by_name: dict[str, dict[str, set[str]]]
) -> None:
    labels = set(_ADDED)
    selectors = _SELECTOR.findall(query)
    for name, matchers in selectors:
        assert name in values_by_label_by_name
        values_by_label = values_by_label_by_name[name]
        labels |= set(values_by_label)
        for label, sign, wanted in _MATCHER.findall(matchers):
            assert label in values_by_label
            if not wanted.startswith("$"):
                names = wanted.split("|") if "~" in sign else [wanted]
                assert set(names) <= values_by_label[label]
    assert selectors or "diffmask:" in query
    if selectors:
        groups = ",".join(_GROUPING.findall(query))
        assert {name.strip() for name in groups.split(",") if name.strip()} <= labels


def test_every_record_named_is_made() -> None:
    made = {rule["record"] for rule in rules() if "record" in rule}
    named = set(re.findall(r"diffmask:\w+:\w+", "\n".join(queries())))
    assert named <= made


@pytest.mark.parametrize("what", ["check", "test"])
def test_promtool_passes_the_rules(what: str) -> None:
    path = RULES if what == "check" else RULES.with_name("rules_test.yml")
    done = subprocess.run(
        [program("promtool"), what, "rules", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_by_firing() -> None:
    tests = yaml.safe_load(RULES.with_name("rules_test.yml").read_text())["tests"]
    fired = {
        case["alertname"]
        for test in tests
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert fired == {rule["alert"] for rule in rules() if "alert" in rule}


def test_dashboard_shows_health_sparsity_and_drift() -> None:
    titles = [each["title"] for each in DASHBOARD["panels"] if each["type"] == "row"]
    assert titles == ["Service health", "Explanations and sparsity", "Drift"]


def test_panels_do_not_cover_each_other() -> None:
    cells = [
        (column, line)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for column in range(place["x"], place["x"] + place["w"])
        for line in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(column for column, _ in cells) < 24
