import json
import subprocess
import sys
from pathlib import Path

import pytest

from diffmask_training.cli import main


def _flags(texts: Path, checkpoint: Path, probes: Path) -> list[str]:
    return [
        *("--data", str(texts.parent), "--train", texts.name),
        *("--checkpoint", str(checkpoint), "--probes", str(probes)),
    ]


@pytest.mark.parametrize("flags", [[], ["-h"], ["--help"]])
def test_overview_lists_every_command(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags) == 0
    printed = capsys.readouterr().out
    for name in ("finetune", "fit", "evaluate", "export", "verify"):
        assert f"  {name} " in printed


def test_overview_answers_without_importing_torch() -> None:
    code = (
        "import sys; from diffmask_training.cli import main; main(['--help']);"
        "sys.exit('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert run.returncode == 0


@pytest.mark.parametrize("name", ["finetune", "fit", "evaluate", "export", "verify"])
def test_help_explains_every_flag(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "--checkpoint" in printed
    assert "--recipe" in printed


def test_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 2
    assert "no command 'train'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["fit", "--checkpoint", "nowhere"], "nowhere: no config.json"),
        (["fit", "--recipe", "none"], "no recipe 'none'"),
        (["fit", "--preset", "papre"], "no preset 'papre'"),
        (["fit", "--margin", "-1"], "margin must be at least 0"),
        (["export", "--default-graph", "w8"], "default_graph w8 is not among"),
        (["evaluate", "--bundle", "nowhere"], "nowhere: no such directory"),
        (["verify", "--bundle", "nowhere"], "nowhere: no such directory"),
        (["finetune", "--base", "nowhere"], "nowhere: holds no pretrained model"),
    ],
)
def test_error_is_one_line_that_names_the_cause(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert "Traceback" not in printed


def test_malformed_row_is_named_before_anything_is_fitted(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.csv").write_text("text,label\nGood,1\nBad,7\n")
    flags = _flags(tmp_path / "bad.csv", checkpoint, tmp_path / "probes")
    assert main(["fit", *flags]) == 2
    assert "bad.csv, line 3: label '7' is out of range" in capsys.readouterr().err
    assert not (tmp_path / "probes").exists()


def test_recipe_supplies_defaults_and_a_flag_goes_before_it(
    checkpoint: Path,
    texts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        f'[data]\ntrain = "{texts.name}"\n'
        "[fit]\nepochs = 7\nepoch_steps = 0\n[fit.hidden]\nmargin = 9.0\n"
    )
    status = main(
        [
            *("fit", "--recipe", str(recipe), "--kind", "hidden", "--epochs", "1"),
            *("--data", str(texts.parent), "--checkpoint", str(checkpoint)),
            *("--probes", str(tmp_path / "probes")),
        ]
    )
    printed = capsys.readouterr().out
    assert status in {0, 1}  # the verdict on so short a fit is not the point here
    assert "epoch 1 of 1" in printed
    assert "where the time went" in printed
    record = json.loads((tmp_path / "probes" / "hidden" / "probe.json").read_text())
    assert record["record"]["config"]["margin"] == 9.0
    assert record["record"]["config"]["epochs"] == 1


def test_unsound_fit_ends_with_status_one(
    checkpoint: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = _flags(texts, checkpoint, tmp_path / "probes")
    strict = [
        "--margin",
        "1e-6",
        "--epochs",
        "1",
        "--epoch-steps",
        "0",
        "--initial-bias",
        "0",
    ]
    assert main(["fit", *flags, *strict]) == 1
    printed = capsys.readouterr().out
    assert "verdict: infeasible in" in printed
    assert "times the mean entropy of the model's own predictions" in printed
    assert "try: raise --epochs" in printed


def test_preset_flag_goes_behind_other_flags(
    checkpoint: Path, texts: Path, tmp_path: Path
) -> None:
    flags = _flags(texts, checkpoint, tmp_path / "probes")
    main(["fit", *flags, "--preset", "paper", "--epochs", "1", "--batch-size", "48"])
    record = json.loads((tmp_path / "probes" / "input" / "probe.json").read_text())
    config = record["record"]["config"]
    assert (config["preset"], config["dealing"]) == ("paper", "single")
    assert (config["epochs"], config["batch_size"]) == (1, 48)


def test_help_of_fit_prints_what_a_preset_sets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--preset paper: margin 0.1, constraint mean" in printed
    assert "dealing single, initial_bias 5.0" in printed
