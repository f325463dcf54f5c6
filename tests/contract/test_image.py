"""The Dockerfile and its lock files."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
LOCKS = ROOT / "deploy" / "image"
STAGES = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)


def lines(instruction: str, text: str = DOCKERFILE) -> list[str]:
    return re.findall(rf"^{instruction}\s+(.*)$", text, re.MULTILINE)


def locked(name: str) -> dict[str, str]:
    """Return version by package; every one must have a hash."""
    text = re.sub(r"#.*", "", (LOCKS / name).read_text(encoding="utf-8"))
    entries = text.replace("\\\n", " ").strip().splitlines()
    version_by_name: dict[str, str] = {}
    for entry in filter(str.strip, entries):
        found = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==(\S+)(.*)", entry)
        assert found, entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", found[3]), entry
        version_by_name[canonicalize_name(found[1])] = found[2]
    return version_by_name


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_lock_holds_what_the_project_asks_for(variant: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    version_by_name = locked(f"{variant}.txt")
    for text in (
        project["dependencies"]
        + extras[variant]
        + extras["console"]
        + extras["tracing"]
    ):
        wanted = Requirement(text)
        assert wanted.specifier.contains(
            version_by_name[canonicalize_name(wanted.name)]
        )
    assert "torch" not in version_by_name


def test_variants_bring_one_runtime() -> None:
    assert "onnxruntime-gpu" not in locked("cpu.txt")
    assert "onnxruntime" not in locked("cuda.txt")
    assert "nvidia-cudnn-cu13" in locked("cuda.txt")


def test_build_tools_are_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for text in project["build-system"]["requires"]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(locked("build.txt")[wanted.name])


def test_base_image_is_pinned() -> None:
    (pin,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", STAGES[0], re.MULTILINE)
    assert re.search(r"@sha256:[0-9a-f]{64}$|:3\.11\.\d+-", pin)
    assert [stage.split()[0] for stage in STAGES[1:]] == ["${PYTHON_IMAGE}"] * 2


def test_last_stage_runs_without_root_or_shell() -> None:
    last = STAGES[-1]
    assert lines("USER", last) == ["65532:65532"]
    assert lines("RUN", last) == []
    assert lines("ADD") == []
    for command in (*lines("ENTRYPOINT", last), *lines("CMD", last)):
        assert command.startswith("["), "the shell form needs a shell"
    (check,) = lines("HEALTHCHECK", last)
    assert check.endswith('CMD ["diffmask", "healthcheck"]')


def test_everything_that_is_copied_is_let_in() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = [word for text in lines("COPY", STAGES[1]) for word in text.split()[:-1]]
    assert {path.rstrip("/") for path in copied} == let_in


def test_image_gets_neither_training_nor_tests() -> None:
    copied = " ".join(lines("COPY", STAGES[1]))
    assert "service/" in copied
    assert not re.search(r"training|tests|\s\.\s", copied)
