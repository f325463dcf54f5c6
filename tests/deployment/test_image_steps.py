"""The Dockerfile's steps, taken where there is no Docker, from its own text."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from diffmask_service.client import Client
from tests.support.dockerfile import ROOT, stages
from tests.support.process import announced_server
from tests.support.programs import program

BUILD, SERVICE = stages()
INTO = "/opt/diffmask"
BUNDLE = ROOT / "bundles" / "sst2-minilm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What the last stage holds, at another place.

    Attributes:
        root: Stands for `/`.
    """

    root: Path

    def placed(self, text: str) -> str:
        """Return a text of the Dockerfile with the image's folder in this place."""
        return text.replace(INTO, f"{self.root}{INTO}")

    def environment(self) -> dict[str, str]:
        """Return the variables of the last stage, and no programs but its own."""
        found = {k: self.placed(v) for k, v in SERVICE.environment().items()}
        return found | {"PATH": f"{self.root}{INTO}/bin", "no_grpc_proxy": "127.0.0.1"}

    def user(self) -> int | None:
        """Return the user of the last stage, where we may become it and it can run."""
        if os.geteuid() != 0:
            return None
        (text,) = SERVICE.texts("USER")
        user = int(text.split(":")[0])
        # A Python in the home of root is out of its reach.
        python = f"{self.root}{INTO}/bin/python"
        try:
            done = subprocess.run([python, "-c", ""], user=user, check=False)
        except PermissionError:
            return None
        return user if done.returncode == 0 else None

    def start(self, words: Sequence[str]) -> subprocess.Popen[str]:
        """Run a command as the image would."""
        user = self.user()
        return subprocess.Popen(
            [f"{self.root}{INTO}/bin/{words[0]}", *words[1:]],
            env=self.environment(),
            cwd="/",
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def work() -> Iterator[Path]:
    """A folder that other users may look into, unlike those that pytest makes."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture(scope="module")
def image(work: Path) -> Image:
    """Take the steps of the first stage: copy what it copies, run what it runs."""
    made, source = Image(root=work / "root"), work / "source"
    for text in BUILD.texts("COPY"):
        *paths, target = text.split()
        for path in paths:
            into = source / target / ("" if path.endswith("/") else Path(path).name)
            into.parent.mkdir(parents=True, exist_ok=True)
            origin = ROOT / path
            if origin.is_dir():
                shutil.copytree(origin, into, ignore=shutil.ignore_patterns("*.pyc"))
            else:
                shutil.copy(origin, into)
    Path(made.placed(INTO)).parent.mkdir(parents=True)
    (default,) = (text.partition("=")[2] for text in BUILD.texts("ARG"))
    (step,) = BUILD.texts("RUN")
    python = os.environ.get("PYTHON", sys.executable)
    subprocess.run(
        ["bash", "-euc", made.placed(step)],
        cwd=source,
        env=os.environ | {"PYTHON": python, "VARIANT": default},
        check=True,
    )
    return made


@pytest.fixture(scope="module")
def bundle(work: Path) -> Iterator[Path]:
    """The shipped bundle, in a folder that nobody may write to."""
    copied = work / "bundle"
    shutil.copytree(BUNDLE, copied)
    for path in copied.iterdir():
        path.chmod(0o444)
    copied.chmod(0o555)
    yield copied
    copied.chmod(0o755)


def test_it_holds_the_service_alone(image: Image) -> None:
    names = ("diffmask_training", "torch", "transformers", "pip", "hatchling")
    code = "import importlib.util as u, sys; print(*filter(u.find_spec, sys.argv[1:]))"
    process = image.start(["python", "-c", code, *names])
    out, error = process.communicate()
    assert (process.returncode, out.strip()) == (0, ""), error


def test_what_it_starts_serves_and_is_healthy_and_writes_nothing(
    image: Image, bundle: Path
) -> None:
    words = [*SERVICE.command("ENTRYPOINT"), *SERVICE.command("CMD")]
    ports = ["--grpc-port=0", "--metrics-port=0", "--health-port=0"]
    before = times(image.root)
    process = image.start([*words, "--bundle", str(bundle), *ports])
    with announced_server(process) as server:
        check = image.start(
            [*SERVICE.command("HEALTHCHECK"), "--server", server.grpc_target]
        )
        assert check.communicate() == ("serving\n", "")
        assert check.returncode == 0
        with Client(server.grpc_target) as client:
            explanation = client.explain_one("A fast , funny , enjoyable movie .")
        assert explanation.input_gates is not None
        status, log = server.terminate()
    assert status == 0, log
    assert times(image.root) == before


def test_the_variant_for_gpus_can_be_installed(tmp_path: Path) -> None:
    # Whole, it is gigabytes; here only that every package is there with its hashes.
    lock = ROOT / "deploy" / "image" / "cuda.txt"
    done = subprocess.run(
        [
            *(program("uv"), "pip", "install", "--dry-run", "--no-deps"),
            *("--require-hashes", "--only-binary", ":all:", "--requirement", str(lock)),
            *("--target", str(tmp_path), "--python-version", "3.11"),
            *("--python-platform", "x86_64-manylinux_2_28"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "onnxruntime-gpu==" in done.stderr


def times(directory: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in directory.rglob("*")}
