"""Envoy's own messages take its configuration.

They come as a package that has folders in common with others, so it is unpacked for
itself and read by a process of its own.
"""

import subprocess
import sys
from pathlib import Path

import pytest

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "envoy" / "envoy.yaml"
PACKAGE = "xds-protos==1.85.0"
# Types that the configuration names must be imported to be known.
CODE = """
import importlib, re, sys
import yaml
from google.protobuf import json_format

text = open(sys.argv[1], encoding="utf-8").read()
modules = {
    "extensions.filters.network.http_connection_manager.v3.http_connection_manager",
    "extensions.filters.http.router.v3.router",
    "extensions.retry.host.previous_hosts.v3.previous_hosts",
    "extensions.upstreams.http.v3.http_protocol_options",
}
for name in modules:
    importlib.import_module(f"envoy.{name}_pb2")
from envoy.config.bootstrap.v3 import bootstrap_pb2

message = json_format.ParseDict(yaml.safe_load(text), bootstrap_pb2.Bootstrap())
print(message.static_resources.clusters[0].name)
"""


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("messages")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--target"]
    install = [sys.executable, "-m", "pip", "install", *options, str(target), PACKAGE]
    subprocess.run(install, check=True)
    return target


def parse(messages: Path, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CODE, str(path)],
        env={"PYTHONPATH": str(messages)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_configuration_is_one_that_envoy_reads(messages: Path) -> None:
    done = parse(messages, CONFIGURATION)
    assert (done.returncode, done.stdout) == (0, "diffmask\n"), done.stderr


def test_a_misspelt_field_is_found(messages: Path, tmp_path: Path) -> None:
    text = CONFIGURATION.read_text(encoding="utf-8")
    assert "num_retries" in text
    spoilt = tmp_path / "envoy.yaml"
    spoilt.write_text(text.replace("num_retries", "number_of_retries"))
    done = parse(messages, spoilt)
    assert "number_of_retries" in done.stderr
    assert done.returncode != 0
