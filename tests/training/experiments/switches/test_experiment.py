"""Every switch on a tiny random classifier, to the report."""

import gzip
from pathlib import Path

import pytest

from diffmask_training.errors import ConfigError
from diffmask_training.experiments.report.document import ReportSettings, write_report
from diffmask_training.experiments.results import read_results
from diffmask_training.experiments.switches.experiment import (
    SwitchesExperiment,
    run_switches,
)
from diffmask_training.experiments.switches.variants import (
    AS_IS,
    FIXED_STATE,
    VARIANTS,
)

_TREES = "\n".join(
    f"({label} ({label} {word}) (2 (2 {thing}) (2 .)))"
    for thing in ("film", "plot")
    for word, label in (("awful", 0), ("dull", 1), ("fine", 3), ("great", 4))
)


@pytest.fixture
def experiment(tmp_path: Path, checkpoint: Path) -> SwitchesExperiment:
    trees = tmp_path / "data" / "sst" / "trees"
    trees.mkdir(parents=True)
    for name in ("train", "test", "dev"):
        (trees / f"{name}.txt.gz").write_bytes(gzip.compress(_TREES.encode()))
    return SwitchesExperiment(
        checkpoint=checkpoint,
        data=tmp_path / "data",
        to=tmp_path / "results",
        epochs=2,
        epoch_steps=2,
    )


def test_every_switch_is_fitted_and_reported(experiment: SwitchesExperiment) -> None:
    run_switches(experiment)
    path = experiment.to / "switches.json"
    units = read_results(path).units
    for kind in ("input", "hidden"):
        names = {unit["switch"] for unit in units.values() if unit["kind"] == kind}
        assert names == {name for name, v in VARIANTS.items() if kind in v.kinds}
    by_name = {unit["switch"]: unit for unit in units.values()}
    assert [s["state"] for s in by_name[FIXED_STATE]["states"]] == ["block_1"]
    assert len(by_name[AS_IS]["states"]) == 4
    # Another round of the same command finds nothing left to do.
    before = path.stat().st_mtime_ns
    run_switches(experiment)
    assert path.stat().st_mtime_ns == before
    write_report(ReportSettings(to=experiment.to))
    report = (experiment.to / "RESULTS.md").read_text(encoding="utf-8")
    assert "### Hidden probe" in report
    for variant in VARIANTS.values():
        assert f"| {variant.described} | 2 |" in report


def test_an_unknown_switch_is_refused(experiment: SwitchesExperiment) -> None:
    with pytest.raises(ConfigError, match="no switch nothing; use as_is, zero_base"):
        run_switches(SwitchesExperiment(switches=("nothing",), to=experiment.to))
