import json
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffmask_training.errors import ConfigError, DataError
from diffmask_training.experiments.results import interval, read_results, run_units


class Units:
    """Counts its runs; one of them may break off."""

    def __init__(self, broken: str = "") -> None:
        self.ran: list[str] = []
        self.broken = broken

    def run(self, name: str) -> Mapping[str, Any]:
        """Run one unit."""
        if name == self.broken:
            raise KeyboardInterrupt
        self.ran.append(name)
        return {"figure": len(name)}

    def named(self, *names: str) -> dict[str, Any]:
        """Return units by name."""
        return {name: (lambda name=name: self.run(name)) for name in names}


def test_interrupted_run_goes_on_from_the_last_finished_unit(tmp_path: Path) -> None:
    first, second = Units(broken="b"), Units()
    settings = {"path": Path("x"), "pair": (1, 2)}
    with pytest.raises(KeyboardInterrupt):
        run_units("e", settings, first.named("a", "b"), directory=tmp_path)
    run_units("e", settings, second.named("a", "b"), directory=tmp_path)
    assert (first.ran, second.ran) == (["a"], ["b"])
    assert list(read_results(tmp_path / "e.json").units) == ["a", "b"]


def test_units_that_another_process_stored_meanwhile_are_kept(tmp_path: Path) -> None:
    other, ours = Units(), Units()

    def run_while_another_stores() -> Mapping[str, Any]:
        run_units("e", {}, other.named("b", "c"), directory=tmp_path)
        return ours.run("a")

    units = {"a": run_while_another_stores, **ours.named("b", "d")}
    run_units("e", {}, units, directory=tmp_path)
    assert (other.ran, ours.ran) == (["b", "c"], ["a", "d"])
    # Those that were asked for first, in their order, whoever ran them.
    assert list(read_results(tmp_path / "e.json").units) == ["a", "b", "d", "c"]


def test_what_another_process_found_of_a_unit_stays(tmp_path: Path) -> None:
    def run_while_another_stores_it() -> Mapping[str, Any]:
        run_units("e", {}, {"a": lambda: {"figure": 1}}, directory=tmp_path)
        return {"figure": 2}

    run_units("e", {}, {"a": run_while_another_stores_it}, directory=tmp_path)
    assert read_results(tmp_path / "e.json").units == {"a": {"figure": 1}}


def test_processes_that_store_at_once_lose_nothing(tmp_path: Path) -> None:
    names = [f"{number}" for number in range(40)]
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        list(pool.map(store, [tmp_path] * len(names), names))
    assert read_results(tmp_path / "e.json").units.keys() == set(names)


def store(directory: Path, name: str) -> None:
    run_units("e", {}, Units().named(name), directory=directory)


def test_figures_of_other_settings_are_not_mixed_in(tmp_path: Path) -> None:
    run_units("e", {"steps": 1}, Units().named("a"), directory=tmp_path)
    with pytest.raises(ConfigError, match="other settings"):
        run_units("e", {"steps": 2}, Units().named("b"), directory=tmp_path)
    assert list(read_results(tmp_path / "e.json").units) == ["a"]


def test_figures_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    units = {"a": lambda: {"figure": float("nan")}}
    with pytest.raises(ValueError, match="not JSON compliant"):
        run_units("e", {}, units, directory=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("figure", [np.bool_(False), np.float32(0.5), Path("x")])
def test_figures_never_become_text(tmp_path: Path, figure: object) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        run_units("e", {}, {"a": lambda: {"figure": figure}}, directory=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_holds_no_results_is_named(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_text(json.dumps({"units": {}}))
    with pytest.raises(DataError, match=r"e\.json holds no results"):
        read_results(path)


def test_interval_by_the_table_of_students_t() -> None:
    # Mean 3, standard deviation 1.5811; t with 4 degrees of freedom is 2.776.
    found = interval([1, 2, 3, 4, 5])
    assert found.mean == 3
    half = pytest.approx(2.776 * 1.5811 / 5**0.5, abs=1e-3)
    assert (found.high or 0) - found.mean == half
    assert found.mean - (found.low or 0) == half


def test_one_run_has_no_interval() -> None:
    found = interval([1.0])
    assert (found.mean, found.low, found.high) == (1.0, None, None)


@pytest.mark.parametrize("values", [[], [1.0, float("inf")]])
def test_a_mean_of_nothing_finite_is_refused(values: list[float]) -> None:
    with pytest.raises(DataError, match="one finite figure or more"):
        interval(values)
