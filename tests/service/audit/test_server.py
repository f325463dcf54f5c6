"""Audits through a server that goes away, or is not the one that it was."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from diffmask_service.audit import (
    AuditSettings,
    Columns,
    PartsHere,
    ServerAnswers,
    open_source,
    run_audit,
)
from diffmask_service.cli import main
from diffmask_service.client import AsyncClient
from diffmask_service.errors import DiffMaskError, InvalidInput
from tests.support.audits import contents, random_texts, write_csv
from tests.support.process import ServerProcess, running_server
from tests.support.tiny import write_tiny_bundle

NUM_ROWS = 60
SETTINGS = AuditSettings(rows_per_part=10)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [["text"], *([text] for text in random_texts(NUM_ROWS))]
    return write_csv(tmp_path / "texts.csv", rows)


def audit(source: Path, folder: Path, *place: str) -> int:
    words = ["--output", str(folder), "--rows-per-part", "10", *place]
    return main(["audit", str(source), *words])


async def audit_until(
    num_rows: int, source: Path, folder: Path, server: ServerProcess
) -> None:
    """Audit; the server is killed once so many rows are done."""
    num_done = 0

    def on_row(num_more: int) -> None:
        nonlocal num_done
        num_done += num_more
        if num_done == num_rows:
            server.process.kill()

    async with AsyncClient(server.grpc_target, timeout_seconds=10) as client:
        model = await client.get_model()
        maker = PartsHere(ServerAnswers(client, model, truncate=False))
        opened = open_source(source, Columns())
        await run_audit(opened, maker, folder, SETTINGS, on_row=on_row)


def test_a_server_that_is_killed_midway_loses_nothing(
    source: Path, tiny_directory: Path, tmp_path: Path
) -> None:
    folder, whole = tmp_path / "killed", tmp_path / "whole"
    assert audit(source, whole, "--bundle", str(tiny_directory)) == 0
    for num_rows in (25, 40):
        with running_server(tiny_directory) as server:
            with pytest.raises(DiffMaskError) as caught:
                asyncio.run(audit_until(num_rows, source, folder, server))
            assert server.grpc_target in str(caught.value)
            assert "same command again" in str(caught.value)
        # What was answered whole is written, in the bytes of a run without a server.
        kept = contents(folder / "parts")
        assert kept
        assert kept.items() < contents(whole / "parts").items()
    with running_server(tiny_directory) as server:
        assert audit(source, folder, "--server", server.grpc_target) == 0
    assert contents(folder) == contents(whole)


def test_a_server_that_comes_back_with_another_bundle_is_refused(
    source: Path,
    tiny_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "audit"
    with (
        running_server(tiny_directory) as server,
        pytest.raises(DiffMaskError),
    ):
        asyncio.run(audit_until(25, source, folder, server))
    before = contents(folder)
    # The same name and version, and not the same bundle.
    write_tiny_bundle(tmp_path / "other", max_tokens=11)
    with running_server(tmp_path / "other") as server:
        assert audit(source, folder, "--server", server.grpc_target) == 2
    assert "holds another audit: model was" in capsys.readouterr().err
    assert contents(folder) == before


def test_a_model_that_changes_under_way_ends_the_audit(
    source: Path, tiny_directory: Path, tmp_path: Path
) -> None:
    async def run(server: ServerProcess) -> None:
        async with AsyncClient(server.grpc_target) as client:
            model = await client.get_model()
            began = replace(model, identity=replace(model.identity, digest="0" * 64))
            maker = PartsHere(ServerAnswers(client, began, truncate=False))
            opened = open_source(source, Columns())
            await run_audit(opened, maker, tmp_path / "audit", SETTINGS)

    with (
        running_server(tiny_directory) as server,
        pytest.raises(InvalidInput, match="the server now answers with tiny 3"),
    ):
        asyncio.run(run(server))
    assert not contents(tmp_path / "audit" / "parts")
