"""An audit whose process kills itself in the midst of its work.

Arguments: at which event, or before which file gets its name, or `midway` for the midst
of writing a file, then the command line of `diffmask`. An event is an opening, renaming
or removing of a file in the audit's folder, or a cut of one; the process dies before it
happens.
"""

import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from diffmask_service.cli import main

_EVENTS = ("open", "os.rename", "os.remove", "os.truncate")
# Larger than the folder's JSON files, smaller than a part of it.
_MIDWAY_BYTES = 2000


def _kill_at(event_number: int, folder: Path) -> None:
    left = [event_number]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in _EVENTS or not isinstance(arguments[0], str | os.PathLike):
            return
        if folder in Path(os.fspath(arguments[0])).parents:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _kill_before(name: str) -> None:
    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename" and Path(str(arguments[1])).name == name:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def run(arguments: Sequence[str]) -> int:
    """Audit until killed, or to the end."""
    moment, *command = arguments
    if moment == "midway":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (_MIDWAY_BYTES, _MIDWAY_BYTES))
    elif moment.isdecimal():
        _kill_at(int(moment), Path(command[command.index("--output") + 1]))
    else:
        _kill_before(moment)
    return main(command)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
