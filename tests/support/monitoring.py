"""What deploy/ asks of Prometheus: the dashboards' queries and the rules."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
CONFIGURATION = DEPLOY / "prometheus" / "prometheus.yml"
DASHBOARDS: Mapping[str, Any] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((DEPLOY / "grafana").glob("*.json"))
}


def rules() -> list[dict[str, Any]]:
    """Return the recording and alert rules of all groups."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """Return the panels of all dashboards."""
    return [panel for board in DASHBOARDS.values() for panel in board["panels"]]


def panel_queries() -> list[str]:
    """Return what the panels ask, variables and all."""
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def filled(query: str, *, model: str, kind: str, interval: str) -> str:
    """Return a panel's query as Grafana sends it.

    Args:
        query: With variables.
        model: Value of `$model`, a regular expression.
        kind: Value of `$kind`.
        interval: Value of `$__rate_interval`.
    """
    values = {"$model": model, "$kind": kind, "$__rate_interval": interval}
    for name, value in values.items():
        query = query.replace(name, value)
    assert "$" not in query, query
    return query
