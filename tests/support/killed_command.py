"""A command that is killed again and again, and goes on until it ends by itself.

Arguments: a seed, the folder that is watched, and the command with its flags, --resume
among them. Prints how many processes were killed and how the last one ended, as JSON.

A process is killed just before it writes or renames certain files, and at moments drawn
by the seed. All are forked from one that has imported everything.
"""

import importlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from diffmask_training.cli import main as run


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """Just before a file is opened to be written, or renamed to its name.

    Attributes:
        event: Name of the audit event.
        file: The file's name.
        number: Which such event it is, counted from 1.
    """

    event: str
    file: str
    number: int = 1


_EARLY = (
    _Moment(event="open", file=".resume.pt.part"),
    _Moment(event="os.rename", file="resume.pt", number=2),
    _Moment(event="open", file="trainer_state.json", number=2),
)
_LATE = (
    _Moment(event="os.rename", file="log.csv"),
    _Moment(event="os.rename", file="probe.json"),
    _Moment(event="os.rename", file="model.safetensors"),
    _Moment(event="os.rename", file="finetune.json"),
)
_NUM_DRAWN = 3
_LATEST = 1.0  # seconds


def _die_at(moment: _Moment, folder: Path) -> None:
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event != moment.event or (event == "open" and "w" not in str(arguments[1])):
            return
        path = str(arguments[1] if event == "os.rename" else arguments[0])
        if path.startswith(str(folder)) and path.endswith(f"/{moment.file}"):
            seen += 1
            if seen == moment.number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _start(arguments: Sequence[str], folder: Path, moment: _Moment | None) -> int:
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if moment is not None:
            _die_at(moment, folder)
        os._exit(run(arguments))
    return pid


def main(seed: int, folder: Path, arguments: Sequence[str]) -> None:
    """Kill, go on, and print how it ended."""
    torch.set_num_threads(1)
    importlib.import_module("diffmask_training.commands")
    draw = random.Random(seed)
    drawn = [draw.uniform(0, _LATEST) for _ in range(_NUM_DRAWN)]
    moments: list[_Moment | float] = [*_EARLY, *drawn, *_LATE]
    num_killed = 0
    for moment in moments:
        if isinstance(moment, float):
            pid = _start(arguments, folder, None)
            time.sleep(moment)
            os.kill(pid, signal.SIGKILL)
        else:
            pid = _start(arguments, folder, moment)
        num_killed += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    status = os.waitpid(_start(arguments, folder, None), 0)[1]
    ended = {"killed": num_killed, "status": os.waitstatus_to_exitcode(status)}
    sys.stdout.write(f"{json.dumps(ended)}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
