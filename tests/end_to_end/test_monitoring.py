"""Dashboards and rules, asked of a real Prometheus that reads a real server at work."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from diffmask_service.client import Client
from diffmask_service.errors import InvalidInput
from tests.support.monitoring import DASHBOARDS, filled, panel_queries, rules
from tests.support.process import running_server
from tests.support.prometheus import Prometheus, running_prometheus
from tests.support.waiting import wait_until

BUNDLE = Path(__file__).parents[2] / "bundles" / "sst2-minilm"
MODEL = "sst2-minilm"
# What is empty while all is well.
MAY_BE_EMPTY = {
    'sort(ALERTS{alertname=~"DiffMask.*",alertstate="firing"})',
    *(rule["expr"] for rule in rules() if "alert" in rule),
}
SELECTOR = re.compile(r"\b(?:diffmask|grpc_server)[\w:]+(?:\{[^}]*\})?")
TEXTS = (
    "A fast , funny , highly enjoyable movie .",
    "The plot goes nowhere , and it takes two hours to get there .",
    "Not bad at all .",
    "A dull and lifeless waste of time .",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A server that Prometheus reads, and a client of it."""

    client: Client
    prometheus: Prometheus

    def work(self) -> None:
        """Have it do everything that makes numbers."""
        self.client.explain(TEXTS, verify=True, timeout_seconds=60)
        self.client.explain(TEXTS, gates=(), timeout_seconds=60)
        with pytest.raises(InvalidInput):
            self.client.explain("")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with (
        running_server(BUNDLE, workers=1) as server,
        running_prometheus(
            tmp_path_factory.mktemp("prometheus"), server.metrics_url
        ) as prometheus,
        Client(server.grpc_target) as client,
    ):
        # Rates need what was there before the work.
        wait_until(
            lambda: prometheus.samples("count(diffmask_requests_total)") != [],
            "the first scrape",
        )
        yield Watched(client=client, prometheus=prometheus)


def dashboard_queries() -> set[str]:
    return {
        filled(query, model=model, kind=kind, interval="1m")
        for query in panel_queries()
        for model in (".*", MODEL)
        for kind in ("input", "hidden")
    }


def test_every_query_has_an_answer(watched: Watched) -> None:
    asked = {rule["expr"] for rule in rules()}
    alerts = {rule["expr"] for rule in rules() if "alert" in rule}
    # Of an alert that has nothing to say, what it looks at must be there.
    looked_at = {name for expr in alerts for name in SELECTOR.findall(expr)}
    waiting = (dashboard_queries() | asked | looked_at) - MAY_BE_EMPTY

    def is_answered() -> bool:
        watched.work()
        answered = {query for query in waiting if watched.prometheus.samples(query)}
        waiting.difference_update(answered)
        return not waiting

    wait_until(is_answered, waiting)
    for query in MAY_BE_EMPTY:
        watched.prometheus.samples(query)


def test_every_rule_is_evaluated_without_an_error(watched: Watched) -> None:
    def found() -> list[dict[str, str]]:
        groups = watched.prometheus.get("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def healths() -> set[str]:
        return {rule["health"] for rule in found()}

    wait_until(lambda: "unknown" not in healths(), "every rule to be evaluated")
    assert healths() == {"ok"}
    names = [rule.get("record") or rule["alert"] for rule in rules()]
    assert sorted(rule["name"] for rule in found()) == sorted(names)


def test_every_variable_has_values(watched: Watched) -> None:
    for board in DASHBOARDS.values():
        (variable,) = (
            each for each in board["templating"]["list"] if each["name"] == "model"
        )
        asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"])
        assert asked is not None
        values = watched.prometheus.get(
            f"label/{asked[2]}/values", **{"match[]": asked[1]}
        )
        assert values == [MODEL]


def test_traffic_that_shifts_fires_the_alert_and_nothing_else(
    watched: Watched,
) -> None:
    # The same few texts over and over are not what the reference texts are.
    def firing() -> set[str]:
        found = watched.prometheus.get(
            "query", query='ALERTS{alertstate="firing"} == 1'
        )["result"]
        return {series["metric"]["alertname"] for series in found}

    def is_told() -> bool:
        watched.client.explain(TEXTS * 8, timeout_seconds=60)
        return bool(firing())

    wait_until(is_told, "an alert")
    assert firing() == {"DiffMaskExplanationsHaveShifted"}
