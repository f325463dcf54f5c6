"""Audits on a Ray cluster of two workers, beside those of this process."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffmask_service.audit import AuditSettings, Columns, open_source, run_audit
from diffmask_service.audit.on_ray import PartsOnRay, digest_of_bits, joined_cluster
from diffmask_service.bundle import Bundle, read_bundle
from diffmask_service.cli import main
from diffmask_service.engine.loading import load
from diffmask_service.errors import InvalidInput
from tests.support.audits import contents, random_texts, write_csv
from tests.support.tiny import write_tiny_pair_bundle

# Those of packages that a cluster's client brings.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
NUM_ROWS = 200
NUM_WORKERS = 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[int]:
    with joined_cluster(None, num_workers=NUM_WORKERS) as num_workers:
        yield num_workers


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [["text"], *([text] for text in random_texts(NUM_ROWS))]
    return write_csv(tmp_path / "texts.csv", rows)


def audit(source: Path, folder: Path, bundle: Path, *flags: str) -> int:
    words = ["--output", str(folder), "--bundle", str(bundle), *flags]
    return main(["audit", str(source), "--rows-per-part", "5", *words])


def _workers() -> list[int]:
    """Return the cluster's processes that make parts; ours are below this process."""
    parents, workers = {}, []
    for path in Path("/proc").iterdir():
        if not path.name.isdecimal():
            continue
        try:
            status = (path / "status").read_text()
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        pid = int(path.name)
        parents[pid] = int(status.partition("PPid:")[2].split()[0])
        if command.startswith(b"ray::") and b"MapBatches" in command:
            workers.append(pid)
    return [pid for pid in workers if os.getpid() in _ancestors(pid, parents)]


def _ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid in parents:
        pid = parents[pid]
        yield pid


def test_a_worker_that_is_killed_changes_nothing(
    cluster: int, source: Path, tiny_directory: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    killed: list[int] = []

    def on_row(_: int) -> None:
        # Once, when the first of many small parts has come.
        if not killed and contents(there / "parts"):
            killed.extend(_workers()[:1])
            os.kill(killed[0], signal.SIGKILL)

    maker = PartsOnRay(read_bundle(tiny_directory), precision=None, num_workers=cluster)
    opened = open_source(source, Columns())
    settings = AuditSettings(rows_per_part=1)
    asyncio.run(run_audit(opened, maker, there, settings, on_row=on_row))
    assert killed
    assert audit(source, here, tiny_directory, "--rows-per-part", "1") == 0
    assert contents(there) == contents(here)


def test_either_engine_goes_on_where_the_other_ended(
    cluster: int,
    tiny_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [["text"], *([text] for text in random_texts(NUM_ROWS))]
    for number in (18, 52):
        rows[1 + number] = [""]
    source = write_csv(tmp_path / "texts.csv", rows)
    here, both = tmp_path / "here", tmp_path / "both"
    assert audit(source, here, tiny_directory, "--on-error", "row") == 0
    assert audit(source, both, tiny_directory) == 2
    assert len(contents(both / "parts")) == 3
    keeping = ("--engine", "ray", "--workers", str(cluster))
    assert audit(source, both, tiny_directory, *keeping) == 2
    assert capsys.readouterr().err.count("row 18 (id 18): column 'text' is empty") == 2
    assert audit(source, both, tiny_directory, *keeping, "--on-error", "row") == 0
    assert contents(both) == contents(here)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--engine", "ray", "--server", "127.0.0.1:1"), "name one with --bundle"),
        (("--bundle", "b", "--ray-address", "auto"), "goes with --engine ray"),
    ],
)
def test_flags_of_different_engines_are_refused(
    flags: tuple[str, ...],
    told: str,
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["audit", str(source), "--output", str(tmp_path / "audit"), *flags]
    assert main(words) == 2
    assert told in capsys.readouterr().err


def test_a_worker_refuses_another_input(source: Path) -> None:
    opened = open_source(source, Columns())
    opened.check_content()
    source.write_text("text\nanother\n")
    with pytest.raises(InvalidInput, match="is another file for a worker"):
        opened.check_content()
    source.unlink()
    with pytest.raises(InvalidInput, match="cannot be read by a worker"):
        opened.check_content()


def test_the_digest_of_bits_tells_graphs_apart(
    tiny_directory: Path, tmp_path: Path
) -> None:
    tiny, other = read_bundle(tiny_directory), write_tiny_pair_bundle(tmp_path / "pair")

    def bits(bundle: Bundle) -> str:
        return digest_of_bits(bundle, load(bundle, precision=None))

    assert bits(tiny) == bits(tiny)
    assert bits(tiny) != bits(other)


def test_a_worker_that_gives_other_bits_ends_the_audit(
    cluster: int, source: Path, tiny_directory: Path, tmp_path: Path
) -> None:
    class ElsewherePartsOnRay(PartsOnRay):
        """As if this process ran on another kind of machine."""

        def __init__(self, bundle: Bundle) -> None:
            super().__init__(bundle, precision=None, num_workers=cluster)
            self._bits = "0" * 64

    maker = ElsewherePartsOnRay(read_bundle(tiny_directory))
    opened = open_source(source, Columns())
    folder = tmp_path / "audit"
    settings = AuditSettings(rows_per_part=100)
    with pytest.raises(InvalidInput, match="gives other bits than this one"):
        asyncio.run(run_audit(opened, maker, folder, settings))
    assert not contents(folder / "parts")
