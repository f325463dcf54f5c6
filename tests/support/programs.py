"""Programs that are not Python's and that a test cannot do without."""

import os
import shutil
import sys
from pathlib import Path


def program(name: str) -> str:
    """Return where a program is, in this environment or on the system's path."""
    beside = str(Path(sys.executable).parent)
    # Debian keeps nginx where only root's path leads.
    places = os.pathsep.join([beside, os.environ["PATH"], "/usr/sbin"])
    found = shutil.which(name, path=places)
    assert found, f"{name} is missing; `.ci/debian-tools ENVIRONMENT` installs it"
    return found
