"""What `inspect` finds in a bundle."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from diffmask_service.bundle import Bundle, write_bundle
from diffmask_service.cli import main


def test_inspect_shows_the_card_and_passes_a_good_bundle(
    tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tiny_directory)]) == 0
    shown = capsys.readouterr().out
    for expected in ("tiny version", "negative, positive", "block_1", "Provenance"):
        assert expected in shown
    assert shown.count("  ok    ") >= 3
    assert "FAIL" not in shown


@pytest.mark.parametrize(
    "name", ["model.fp32.onnx", "tokenizer.json", "selftest.json", "README.md"]
)
def test_inspect_names_the_file_with_a_flipped_byte(
    name: str,
    tiny_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoilt = tmp_path / "spoilt"
    shutil.copytree(tiny_directory, spoilt)
    content = bytearray((spoilt / name).read_bytes())
    content[-1] ^= 1
    (spoilt / name).write_bytes(content)
    assert main(["inspect", str(spoilt)]) == 1
    shown = capsys.readouterr().out
    assert f"FAIL  {name}" in shown


def test_inspect_names_the_self_test_that_fails(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = replace(tiny_bundle.selftest.cases[0], logits=(7.0, -7.0))
    selftest = replace(tiny_bundle.selftest, cases=(case,))
    files = {**tiny_bundle.files, "selftest.json": selftest.to_json()}
    write_bundle(tmp_path / "other", tiny_bundle.manifest, files)
    assert main(["inspect", str(tmp_path / "other")]) == 1
    shown = capsys.readouterr().out
    assert "FAIL  model.fp32.onnx: selftest.json, case 0: logits differs by" in shown


def test_inspect_names_the_graph_that_is_none(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {**tiny_bundle.files, "model.fp32.onnx": b"not a graph"}
    write_bundle(tmp_path / "other", tiny_bundle.manifest, files)
    assert main(["inspect", str(tmp_path / "other")]) == 1
    assert "FAIL  model.fp32.onnx: not an ONNX graph" in capsys.readouterr().out


def test_inspect_says_that_nothing_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tmp_path / "none")]) == 1
    assert "no such directory" in capsys.readouterr().out
