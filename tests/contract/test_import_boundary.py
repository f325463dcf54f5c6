"""The service runs where torch, transformers and our training package are absent."""

import subprocess
import sys

_IMPORT_EVERYTHING = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root in {"torch", "transformers", "diffmask_training"}:
            raise ImportError(f"{name} is out of bounds for the service")

sys.meta_path.insert(0, Refuse())
import diffmask_service
for module in pkgutil.walk_packages(diffmask_service.__path__, "diffmask_service."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print("imported", "diffmask_service.app" in sys.modules)
"""


def test_every_module_imports_without_training() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_EVERYTHING],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "imported True\n"


def test_importing_the_app_does_not_load_the_runtime() -> None:
    code = "import sys, diffmask_service.app; print('onnxruntime' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_only_an_audit_needs_pyarrow_and_names_its_extra() -> None:
    code = """
import sys
sys.modules["pyarrow"] = None
import diffmask_service.app
from diffmask_service.cli import main
sys.exit(main(["audit", "in.csv", "--output", "out", "--bundle", "bundle"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "install diffmask-service[audit]" in done.stderr
