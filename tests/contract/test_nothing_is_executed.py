"""Loading a bundle reads its files, each once, and runs nothing but the graph."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import diffmask_service
from tests.support.tiny import tiny_files

SOURCES = sorted(Path(diffmask_service.__path__[0]).rglob("*.py"))
# They make objects, and so run code, out of bytes.
UNPICKLERS = {
    "_pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "pickle",
    "shelve",
    "torch",
    "yaml",
}
EXECUTORS = {"compile", "eval", "exec"}
# The second load of two: by then every library has imported what it needs.
_LOAD = """
import sys
from pathlib import Path
from diffmask_service.app import open_engine

FATAL = ("pickle.", "marshal.", "subprocess.", "os.system", "os.exec", "os.posix_spawn",
         "os.fork", "socket.connect", "ctypes.dlopen", "import", "exec", "compile")
is_watched = False

def watch(event, arguments):
    if not is_watched:
        return
    if event.startswith(FATAL):
        raise AssertionError(f"{event} {arguments}")
    # A stream around a file that is open already opens nothing.
    if event == "open" and not isinstance(arguments[0], int):
        print(arguments[0])

sys.addaudithook(watch)
directory = Path(sys.argv[1])
open_engine(directory).close()
is_watched = True
engine = open_engine(directory)
is_watched = False
engine.close()
"""


def called_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            yield "pickle"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_module_unpickles_or_executes(source: Path) -> None:
    names = set(called_names(ast.parse(source.read_text(encoding="utf-8"))))
    assert not names & (UNPICKLERS | EXECUTORS)


def test_loading_opens_each_file_once_and_runs_nothing(tiny_directory: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, str(tiny_directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = [str(tiny_directory), "manifest.json", *tiny_files()]
    assert sorted(done.stdout.splitlines()) == sorted(expected)
