"""Commands as a user types them, on a full disk and killed at any moment."""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from diffmask_training.cli import main
from tests.support.checkpoint import write_texts

_SCRIPT = Path(__file__).parents[1] / "support" / "killed_command.py"


@contextmanager
def _disk_of(num_bytes: int) -> Iterator[None]:
    # The kernel refuses to let any file grow past this, as a full disk would.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _fit(checkpoint: Path, texts: Path, probes: Path, *more: str) -> list[str]:
    return [
        *("fit", "--data", str(texts.parent), "--train", texts.name),
        *("--checkpoint", str(checkpoint), "--probes", str(probes)),
        *("--epochs", "3", "--batch-size", "48", "--learning-rate", "1e-2"),
        *("--epoch-steps", "0", *more),
    ]


def _finetune(checkpoint: Path, texts: Path, tuned: Path, *more: str) -> list[str]:
    return [
        *("finetune", "--data", str(texts.parent), "--train", texts.name),
        *("--base", str(checkpoint), "--checkpoint", str(tuned)),
        *("--epochs", "3", "--batch-size", "16", "--masked-share", "0.5", *more),
    ]


def _files(directory: Path) -> dict[str, bytes]:
    paths = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def _killed(command: list[str], folder: Path, seed: int) -> dict[str, int]:
    run = subprocess.run(
        [sys.executable, str(_SCRIPT), str(seed), str(folder), *command],
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    counts: dict[str, int] = json.loads(run.stdout.splitlines()[-1])
    return counts


def test_fit_killed_at_any_moment_ends_the_same(
    checkpoint: Path, texts: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    status = main(_fit(checkpoint, texts, whole))
    counts = _killed(_fit(checkpoint, texts, killed, "--resume"), killed, seed=0)
    assert counts["status"] == status
    assert counts["killed"] >= 4
    for name in ("probe.safetensors", "log.csv"):
        one, other = (d / "input" / name for d in (whole, killed))
        assert one.read_bytes() == other.read_bytes()
    assert not list(killed.rglob(".*.part"))


def test_fine_tuning_killed_at_any_moment_ends_the_same(
    checkpoint: Path, texts: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(_finetune(checkpoint, texts, whole)) == 0
    counts = _killed(_finetune(checkpoint, texts, killed, "--resume"), killed, seed=1)
    assert counts["status"] == 0
    assert counts["killed"] >= 3
    one, other = (d / "model.safetensors" for d in (whole, killed))
    assert one.read_bytes() == other.read_bytes()
    assert not (killed / ".part").exists()


def test_full_disk_while_fitting_is_told_and_gone_on_from(
    checkpoint: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, full = tmp_path / "whole", tmp_path / "full"
    main(_fit(checkpoint, texts, whole))
    capsys.readouterr()
    with _disk_of(20_000):
        assert main(_fit(checkpoint, texts, full)) == 2
    told = capsys.readouterr().err
    assert "resume.pt cannot be written (File too large)" in told
    assert "go on with --resume" in told
    assert _files(full) == {}
    main(_fit(checkpoint, texts, full, "--resume"))
    one, other = (d / "input" / "probe.safetensors" for d in (whole, full))
    assert one.read_bytes() == other.read_bytes()


def test_full_disk_while_fine_tuning_is_told_and_gone_on_from(
    checkpoint: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, full = tmp_path / "whole", tmp_path / "full"
    main(_finetune(checkpoint, texts, whole))
    # Room for the weights and not for the optimiser's state, and for neither.
    weights = (whole / "model.safetensors").stat().st_size
    for num_bytes in (weights + 1000, 20_000):
        capsys.readouterr()
        with _disk_of(num_bytes):
            assert main(_finetune(checkpoint, texts, full, "--resume")) == 2
        told = capsys.readouterr().err.splitlines()[-1]
        assert "the checkpoint cannot be written" in told
        assert not (full / "model.safetensors").exists()
    assert main(_finetune(checkpoint, texts, full, "--resume")) == 0
    one, other = (d / "model.safetensors" for d in (whole, full))
    assert one.read_bytes() == other.read_bytes()


@pytest.fixture(scope="module")
def fitted(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The flags that name a classifier, its probes and its texts."""
    root = tmp_path_factory.mktemp("fitted")
    texts = write_texts(root / "texts.jsonl")
    for kind in ("input", "hidden"):
        main(_fit(checkpoint, texts, root / "probes", "--kind", kind))
    return _fit(checkpoint, texts, root / "probes")[1:9]


def test_full_disk_leaves_the_bundle_that_was_there(
    fitted: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    command = ["export", *fitted, "--force", "--bundle", str(bundle)]
    assert main(command) == 0
    before = _files(tmp_path)
    with _disk_of(20_000):
        assert main(command) == 2
    told = capsys.readouterr().err
    assert f"{bundle}: the bundle cannot be written (File too large)" in told
    assert _files(tmp_path) == before


def test_full_disk_leaves_the_report_that_was_there(
    fitted: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    report.write_text("before")
    command = ["evaluate", *fitted, "--texts", "0", "--report", str(report)]
    with _disk_of(300):
        assert main(command) == 2
    assert "report.json cannot be written" in capsys.readouterr().err
    assert _files(tmp_path) == {"report.json": b"before"}


@pytest.mark.parametrize(
    ("command", "flag"),
    [("evaluate", "--report"), ("evaluate", "--html"), ("export", "--bundle")],
)
def test_place_that_cannot_be_written_is_named_at_once(
    command: str,
    flag: str,
    fitted: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "taken").write_text("a file")
    place = tmp_path / "taken" / "inside"
    assert main([command, *fitted, flag, str(place)]) == 2
    told = capsys.readouterr()
    assert "taken: no folder can be made there" in told.err
    assert told.out == ""
