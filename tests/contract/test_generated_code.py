"""The committed code is what the proto gives."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_COMMITTED = _ROOT / "service" / "diffmask_service" / "wire" / "pb"
_NAMES = ("explain_pb2.py", "explain_pb2.pyi", "explain_pb2_grpc.py")
_INFERENCE = _ROOT / "service" / "diffmask_service" / "wire" / "inference"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("grpc_tools") is None:
        pytest.skip("needs grpcio-tools, of the extra `dev`")
    target = tmp_path_factory.mktemp("generated")
    package = "diffmask_service/wire/pb"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{package}={_ROOT / 'protos' / 'diffmask' / 'v1'}",
            f"--python_out={target}",
            f"--grpc_python_out={target}",
            f"--pyi_out={target}",
            f"{package}/explain.proto",
        ],
        check=True,
        capture_output=True,
    )
    return target / package


@pytest.mark.parametrize("name", _NAMES)
def test_generated_file_is_current(generated: Path, name: str) -> None:
    assert (generated / name).read_text() == (_COMMITTED / name).read_text()


@pytest.fixture(scope="module")
def inference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("grpc_tools") is None:
        pytest.skip("needs grpcio-tools, of the extra `dev`")
    target = tmp_path_factory.mktemp("inference")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{_ROOT / 'protos' / 'inference'}",
            f"--descriptor_set_out={target / 'messages.binpb'}",
            f"--pyi_out={target}",
            "inference.proto",
        ],
        check=True,
        capture_output=True,
    )
    return target


@pytest.mark.parametrize(
    ("name", "committed"),
    [("messages.binpb", "messages.binpb"), ("inference_pb2.pyi", "messages.pyi")],
)
def test_descriptors_are_current(inference: Path, name: str, committed: str) -> None:
    generated = (inference / name).read_bytes()
    assert generated == (_INFERENCE / committed).read_bytes()
