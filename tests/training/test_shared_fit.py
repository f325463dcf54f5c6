"""Two processes over gloo against one: the same probe, and equal multipliers."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "support" / "shared_fit.py"
# A dozen steps of Adam at 1e-3 move a weight by about 1e-2; floats that are added in
# another order move it by a thousandth of that.
TOLERANCE = 1e-4
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# Its `--multi_gpu` is what starts several processes; the environment says that they
# compute on the CPU. With `--cpu` it starts one, however many are asked for.
ACCELERATE = [
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
    *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
    *("--main_process_port", "0"),
]


def _run(launcher: list[str], arguments: list[str]) -> None:
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, *launcher, str(SCRIPT), *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "constraint", "launcher"),
    [("input", "quantile", TORCHRUN), ("hidden", "mean", ACCELERATE)],
    ids=["torchrun", "accelerate launch"],
)
def test_two_processes_fit_the_probe_of_one(
    kind: str,
    constraint: str,
    launcher: list[str],
    texts: Path,
    checkpoint: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    given = [str(texts), str(checkpoint)]
    _run([], [*given, str(tmp_path / "one"), kind, constraint])
    _run(launcher, [*given, str(tmp_path / "two"), kind, constraint])
    alone: dict[str, Any] = torch.load(tmp_path / "one" / "process_0.pt")
    first, second = (
        torch.load(tmp_path / "two" / f"process_{index}.pt") for index in range(2)
    )
    assert (alone["count"], first["count"]) == (1, 2)
    assert first["multipliers"] == second["multipliers"]
    assert first["multipliers"] == pytest.approx(alone["multipliers"], rel=1e-4)
    for name, value in alone["probe"].items():
        assert torch.equal(first["probe"][name], second["probe"][name]), name
        assert torch.allclose(first["probe"][name], value, atol=TOLERANCE), name
