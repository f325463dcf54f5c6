import argparse
from dataclasses import fields
from pathlib import Path

import pytest

from diffmask_service.config import (
    ServiceConfig,
    add_flags,
    format_config,
    read_config,
)
from diffmask_service.engine.limits import EngineLimits, count_cores
from diffmask_service.errors import StartError


def test_a_flag_beats_a_variable_and_a_variable_the_default() -> None:
    environment = {
        "DIFFMASK_BUNDLE": "there",
        "DIFFMASK_GRPC_PORT": "1",
        "DIFFMASK_MAX_TEXTS": "7",
        "HOME": "/",
    }
    config = read_config({"grpc_port": "2", "command": "serve"}, environment)
    assert config.bundle == Path("there")
    assert config.grpc_port == 2
    assert config.max_texts == 7
    assert config.metrics_port == 8082


def test_every_setting_has_a_flag() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    parsed = parser.parse_args(["--bundle", "b", "--queue-tokens", "9"])
    assert vars(parsed) == {"bundle": "b", "queue_tokens": "9"}
    shown = " ".join(parser.format_help().split())
    assert "choose. [8081; 0 to 65535]" in shown
    assert "differently. [empty]" in shown
    assert "there is no default. [none]" in shown
    assert "service. [false]" in shown


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("queue_tokens", "TOKENS"),
        ("drain_seconds", "SECONDS"),
        ("max_text_bytes", "BYTES"),
        ("grpc_port", "PORT"),
        ("tls_key", "PATH"),
        ("device", "{auto,cpu,cuda}"),
        ("precision", "{fp32,fp16,int8,w8}"),
        ("console", "true|false"),
    ],
)
def test_the_help_of_a_flag_names_its_unit(name: str, unit: str) -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    (flag,) = (action for action in parser._actions if action.dest == name)
    assert flag.metavar == unit


@pytest.mark.parametrize("text", [".", "./"])
def test_the_present_folder_can_be_served(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_config({"bundle": text}, {}).bundle == tmp_path
    assert read_config({"repository": text}, {}).repository == tmp_path


def test_all_problems_are_told_at_once() -> None:
    flags = {
        "bundle": "somewhere",
        "grpc_port": "65536",
        "workers": "many",
        "drain_seconds": "nan",
        "default_deadline_seconds": "soon",
        "reflection": "maybe",
        "precision": "fp8",
    }
    environment = {"DIFFMASK_METRICS_PORT": "-1", "DIFFMASK_GRPC_PROT": "1"}
    with pytest.raises(StartError) as raised:
        read_config(flags, environment)
    lines = str(raised.value).splitlines()
    assert lines[0] == "wrong settings:"
    assert lines[1].startswith("  DIFFMASK_GRPC_PROT: no such setting; known are")
    assert sorted(lines[2:]) == [
        "  --default-deadline-seconds: 'soon' is not a number",
        "  --drain-seconds: nan is not between 0.0 and 3600.0",
        "  --grpc-port: 65536 is not between 0 and 65535",
        "  --precision: 'fp8' is not one of fp32, fp16, int8, w8",
        "  --reflection: 'maybe' is neither true nor false",
        "  --workers: 'many' is not a whole number",
        "  DIFFMASK_METRICS_PORT: -1 is not between 0 and 65535",
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"host": "0.0.0.0"}, "reaches other machines"),
        ({"host": "::"}, "reaches other machines"),
        # Neither alone: a token in plain text, and a stranger behind encryption.
        ({"host": "10.0.0.1", "inference_token_file": "t"}, "reaches other machines"),
        (
            {"host": "10.0.0.1", "tls_certificate": "c", "tls_key": "k"},
            "reaches other machines",
        ),
        ({"tls_certificate": "c"}, "--tls-certificate, --tls-key: go together"),
        ({"tls_key": "k"}, "--tls-certificate, --tls-key: go together"),
        ({"tls_client_ca": "a"}, "--tls-client-ca: needs"),
        ({"metrics_tls": "true"}, "--metrics-tls: needs"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    flags: dict[str, str], message: str
) -> None:
    with pytest.raises(StartError, match=message):
        read_config({"bundle": "b"} | flags, {})


@pytest.mark.parametrize("guard", ["inference_token_file", "tls_client_ca"])
def test_an_open_address_with_tls_and_a_guard_is_allowed(guard: str) -> None:
    flags = {"host": "0.0.0.0", "tls_certificate": "c", "tls_key": "k", guard: "g"}
    config = read_config({"bundle": "b"} | flags, {})
    assert config.has_health_listener
    assert config.grpc_settings.security.tls is not None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"host": "0.0.0.0"}, "--console: 0.0.0.0 .*--metrics-tls"),
        ({"host": "0.0.0.0", "metrics_tls": "on"}, "--console: 0.0.0.0"),
        ({"tls_client_ca": "a"}, "--console: .*certificates of --tls-client-ca"),
    ],
)
def test_a_console_is_guarded_like_grpc(flags: dict[str, str], message: str) -> None:
    flags = {"bundle": "b", "console": "on", "tls_certificate": "c"} | flags
    flags |= {"tls_key": "k"}
    with pytest.raises(StartError, match=f"(?s){message}"):
        read_config(flags, {})
    assert read_config(flags | {"insecure": "on"}, {}).console


def test_a_console_with_tls_and_tokens_may_be_open_to_others() -> None:
    flags = {"bundle": "b", "console": "on", "host": "0.0.0.0", "metrics_tls": "on"}
    flags |= {"tls_certificate": "c", "tls_key": "k", "inference_token_file": "t"}
    assert read_config(flags, {}).console


def test_a_switch_may_stand_alone() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    flags = vars(parser.parse_args(["--insecure", "--bundle", "b", "--host", "::"]))
    assert read_config(flags, {}).insecure


def test_a_missing_bundle_is_named() -> None:
    with pytest.raises(StartError, match="--bundle: is missing"):
        read_config({}, {})


def test_a_repository_stands_in_for_a_bundle() -> None:
    assert read_config({"repository": "models"}, {}).repository == Path("models")
    with pytest.raises(StartError, match="--repository are both given"):
        read_config({"repository": "models"}, {"DIFFMASK_BUNDLE": "b"})


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("ON", True), ("0", False), ("no", False)]
)
def test_a_switch_is_on_or_off(text: str, expected: bool) -> None:
    config = read_config({"bundle": "b", "reflection": text}, {})
    assert config.reflection is expected


def test_the_effective_settings_are_shown_one_a_line() -> None:
    lines = format_config(ServiceConfig(bundle=Path("b"))).splitlines()
    assert lines[0] == "bundle = b"
    assert "grpc_port = 8081" in lines


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [
        ("", ""),
        ("http://collector:4317", "http://collector:4317"),
        ("https://[::1]:4318/v1/traces", "https://[::1]:4318/v1/traces"),
        ("http://me:hunter2@collector:4317", "********"),
        ("http://me:hunter/2@collector:4317", "********"),
        ("https://collector/v1/traces?key=hunter2", "********"),
    ],
)
def test_a_password_in_a_url_is_not_shown(endpoint: str, shown: str) -> None:
    lines = format_config(ServiceConfig(trace_endpoint=endpoint)).splitlines()
    assert f"trace_endpoint = {shown}" in lines


def test_no_workers_means_one_per_core() -> None:
    assert ServiceConfig().engine_limits.workers == count_cores()
    assert ServiceConfig(workers=3).engine_limits.workers == 3


def test_settings_that_contradict_each_other_are_refused() -> None:
    flags = {
        "bundle": "b",
        "default_priority": "4",
        "min_retry_seconds": "9",
        "device": "tpu",
    }
    with pytest.raises(StartError) as raised:
        read_config(flags, {})
    assert str(raised.value).splitlines()[1:] == [
        "  --device: 'tpu' is not one of auto, cpu, cuda",
        "  --default-priority: 4 is none of the 3 levels of --priority-levels",
        "  --min-retry-seconds: is longer than --max-retry-seconds, 9.0 > 5.0",
    ]


def test_every_limit_of_the_engine_is_a_setting() -> None:
    config = ServiceConfig(bundle=Path("b"), workers=3)
    for limit in fields(EngineLimits):
        assert getattr(config.engine_limits, limit.name) == getattr(config, limit.name)
