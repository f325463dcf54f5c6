"""Fixtures that several folders share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from diffmask_service.app import open_engine
from diffmask_service.bundle import Bundle
from diffmask_service.engine import Engine
from diffmask_service.telemetry import Telemetry
from tests.support.browser import Browser, running_browser
from tests.support.tiny import write_tiny_bundle, write_tiny_pair_bundle

# A busy machine is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips",
        action="store_true",
        help="fail when a test was skipped, for environments that hold everything",
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not session.config.getoption("--no-skips"):
        return
    if reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _scrubbed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DIFFMASK_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def tiny_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle on disk; tests that spoil it write their own."""
    directory = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny_bundle(directory)
    return directory


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture
def tiny_bundle(tmp_path: Path) -> Bundle:
    return write_tiny_bundle(tmp_path / "tiny")


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def engine(tiny_directory: Path, telemetry: Telemetry) -> Iterator[Engine]:
    opened = open_engine(tiny_directory, telemetry=telemetry)
    yield opened
    opened.close()


@pytest.fixture
def pair_engine(tmp_path: Path) -> Iterator[Engine]:
    write_tiny_pair_bundle(tmp_path / "pairs")
    opened = open_engine(tmp_path / "pairs")
    yield opened
    opened.close()
