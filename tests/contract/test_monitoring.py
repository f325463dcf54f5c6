"""Rules and dashboards ask for what the registry holds."""

import json
import re
import subprocess
from typing import Any

import numpy as np
import pytest
import yaml

from diffmask_service.core.values import ModelIdentity
from diffmask_service.telemetry import Telemetry
from tests.support.drifting import NUM_STATES, random_reference
from tests.support.monitoring import (
    CONFIGURATION,
    DASHBOARDS,
    RULES,
    panel_queries,
    panels,
    rules,
)
from tests.support.programs import program

# What a scrape adds to every series.
_ADDED = {"instance", "job"}
_SELECTOR = re.compile(r"\b((?:diffmask|grpc_server)_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on|group_left)\s*\(([^)]*)\)")


def queries() -> list[str]:
    return [*(rule["expr"] for rule in rules()), *panel_queries()]


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
    assert selectors or "diffmask:" in query or "ALERTS{" in query
    if selectors:
        groups = ",".join(_GROUPING.findall(query))
        assert {name.strip() for name in groups.split(",") if name.strip()} <= labels


def test_every_record_named_is_made() -> None:
    made = {rule["record"] for rule in rules() if "record" in rule}
    named = set(re.findall(r"diffmask:\w+:\w+", "\n".join(queries())))
    assert named <= made


def promtool(*arguments: str) -> None:
    done = subprocess.run(
        [program("promtool"), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_configuration_and_its_rules() -> None:
    promtool("check", "config", str(CONFIGURATION))


def test_promtool_passes_the_tests_of_the_rules() -> None:
    promtool("test", "rules", str(RULES.with_name("rules_test.yml")))


def test_every_alert_is_tested_by_firing() -> None:
    tests = yaml.safe_load(RULES.with_name("rules_test.yml").read_text())["tests"]
    fired = {
        case["alertname"]
        for test in tests
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert fired == {rule["alert"] for rule in rules() if "alert" in rule}


def test_the_autoscaler_goes_by_a_gauge_that_there_is(
    values_by_label_by_name: dict[str, dict[str, set[str]]],
) -> None:
    deploy = CONFIGURATION.parents[1]
    (rule,) = yaml.safe_load((CONFIGURATION.with_name("adapter.yml")).read_text())[
        "rules"
    ]
    series = rule["seriesQuery"].partition("{")[0]
    assert series in values_by_label_by_name
    for path in deploy.glob("kubernetes/**/autoscaler.yaml"):
        (metric,) = yaml.safe_load(path.read_text())["spec"]["metrics"]
        assert metric["pods"]["metric"]["name"] == rule["name"]["as"] == series


def test_there_is_a_dashboard_for_each_question() -> None:
    assert set(DASHBOARDS) == {"health", "explanations", "drift"}
    for name, board in DASHBOARDS.items():
        assert board["uid"] == f"diffmask-{name}"
        # By which each has links to the others.
        assert board["tags"] == board["links"][0]["tags"] == ["diffmask"]


@pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS)
def test_variables_of_a_dashboard_are_those_that_it_uses(board: Any) -> None:
    known = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(board["panels"])))
    assert used == known


@pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS)
def test_panels_do_not_cover_each_other(board: Any) -> None:
    cells = [
        (column, line)
        for place in (panel["gridPos"] for panel in board["panels"])
        for column in range(place["x"], place["x"] + place["w"])
        for line in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(column for column, _ in cells) < 24
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_panel_says_what_it_shows_and_in_which_unit(panel: Any) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    legends = [target["legendFormat"] for target in panel["targets"]]
    assert panel["type"] == "table" or all(legends)
    assert len(legends) == len(set(legends))


def test_lines_of_panels_are_the_limits_of_alerts() -> None:
    limits = {
        panel["title"]: {step["value"] for step in steps[1:]}
        for panel in panels()
        if (
            steps := panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps")
        )
    }
    compared = re.compile(r"[<>] ([\d.]+)(?: \* ([\d.]+))?")
    alerts = {
        rule["alert"]: {float(found[0]) for found in compared.findall(rule["expr"])}
        for rule in rules()
        if "alert" in rule
    }
    burns = alerts["DiffMaskErrorBudgetBurnsFast"] | alerts["DiffMaskErrorBudgetBurns"]
    shift = alerts["DiffMaskExplanationsHaveShifted"]
    assert limits == {
        "Errors": {0.001},
        "Error budget burn": burns,
        "Time by stage": alerts["DiffMaskQueueIsLong"],
        "Tokens kept over all states": alerts["DiffMaskSparsityOutOfBand"],
        "Agreement of verified masks": alerts["DiffMaskFidelityIsLow"],
        "Largest drift": shift,
        "Drift by state": shift,
        "Drift by label": shift,
    }
    assert burns == {14.4, 6.0}


def test_every_metric_is_on_a_dashboard_or_in_a_rule(
    values_by_label_by_name: dict[str, dict[str, set[str]]],
) -> None:
    asked = set(re.findall(r"\b(?:diffmask|grpc_server)_\w+", "\n".join(queries())))
    suffix = re.compile(r"_(bucket|sum|count|total|created)$")
    shown = {suffix.sub("", name) for name in asked}
    made = {suffix.sub("", name) for name in values_by_label_by_name}
    assert made - shown == set()
