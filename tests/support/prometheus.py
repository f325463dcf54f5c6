"""A real Prometheus with the configuration and the rules of deploy/."""

import json
import math
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.monitoring import CONFIGURATION, RULES
from tests.support.programs import program
from tests.support.waiting import wait_until

_LISTENS = re.compile(r'msg="Listening on" address=(\S+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """A running Prometheus.

    Attributes:
        url: Of its API.
    """

    url: str

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer; a query that it refuses fails the test."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}") as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def samples(self, query: str) -> list[float]:
        """Return the numbers that a query gives now, without those that are none."""
        result = self.get("query", query=query)["result"]
        numbers = [float(series["value"][1]) for series in result]
        return [number for number in numbers if not math.isnan(number)]


def _is_ready(url: str) -> bool:
    # It listens before it has opened its series, and refuses queries until then.
    try:
        with urllib.request.urlopen(f"{url}/-/ready"):
            return True
    except urllib.error.HTTPError:
        return False


@contextmanager
def running_prometheus(directory: Path, metrics_url: str) -> Iterator[Prometheus]:
    """Start Prometheus on one server; scrapes and rules come every second."""
    configuration = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
    configuration["global"] = dict.fromkeys(
        ("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s"
    )
    configuration["rule_files"] = [str(RULES)]
    (job,) = configuration["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [urllib.parse.urlsplit(metrics_url).netloc]}]
    path, log = directory / "prometheus.yml", directory / "prometheus.log"
    path.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    arguments = {
        "config.file": path,
        "storage.tsdb.path": directory / "series",
        "web.listen-address": "127.0.0.1:0",
    }
    with log.open("w") as stream:
        process = subprocess.Popen(
            [program("prometheus"), *(f"--{k}={v}" for k, v in arguments.items())],
            stderr=stream,
        )
    try:

        def listens() -> bool:
            assert process.poll() is None, log.read_text()
            return _LISTENS.search(log.read_text()) is not None

        wait_until(listens, "Prometheus to listen")
        found = _LISTENS.search(log.read_text())
        assert found is not None
        url = f"http://{found[1]}"
        wait_until(lambda: _is_ready(url), "Prometheus to be ready")
        yield Prometheus(url=url)
    finally:
        process.terminate()
        process.wait()
