from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from diffmask_training.config import (
    DataConfig,
    ExportConfig,
    FinetuneConfig,
    FitConfig,
    from_tables,
    read_recipe,
)
from diffmask_training.config.presets import PRESETS
from diffmask_training.errors import ConfigError
from diffmask_training.lagrangian import Ascent, NuPI, RMSprop


@pytest.mark.parametrize(
    ("name", "num_labels", "default_graph"),
    [("sst2-minilm", 2, "w8"), ("sst5-minilm", 5, "fp32")],
)
def test_shipped_recipe_fits_every_command(
    name: str, num_labels: int, default_graph: str
) -> None:
    recipe = read_recipe(name)
    data, fit = recipe["data"], recipe["fit"]
    finetune = from_tables(FinetuneConfig, data, recipe["finetune"])
    export = from_tables(ExportConfig, data, recipe["export"])
    for kind in ("input", "hidden"):
        fitting = from_tables(FitConfig, data, fit, fit.get(kind, {}))
        assert fitting.train == Path("sst/trees/train.txt.gz")
    assert finetune.phrases
    assert len(finetune.labels) == num_labels
    assert (export.id, export.default_graph) == (name, default_graph)


def test_later_table_goes_before_an_earlier_one() -> None:
    config = from_tables(FitConfig, {"train": "a.csv"}, {"epochs": 2}, {"epochs": 3})
    assert (config.train, config.epochs) == (Path("a.csv"), 3)


def test_whole_number_is_a_float_too() -> None:
    assert from_tables(FitConfig, {}, {"margin": 1}).margin == 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"epoch": 3}, "no field 'epoch'"),
        ({"epochs": "3"}, "epochs must be a int, not '3'"),
        ({"epochs": True}, "epochs must be a int, not True"),
        ({"margin": "x"}, "margin must be a float"),
        ({"train": 3}, "train must be a path"),
        ({"margin": -1.0}, "margin must be at least 0"),
        ({"validation_texts": -5}, "validation_texts must be at least 0"),
    ],
)
def test_wrong_field_of_a_recipe_is_named(
    table: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        from_tables(FitConfig, {}, table)


def test_shared_table_may_hold_fields_of_other_commands() -> None:
    from_tables(DataConfig, {"labels": ["a", "b"], "train": "a.csv"})


def test_unknown_recipe_is_refused_with_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match=r"no recipe 'nothing'.*sst2-minilm"):
        read_recipe("nothing")


def test_recipe_that_is_not_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[fit\n")
    with pytest.raises(ConfigError, match=r"bad\.toml"):
        read_recipe(str(path))


def test_default_graph_must_be_written() -> None:
    with pytest.raises(ConfigError, match="default_graph w8 is not among"):
        ExportConfig(default_graph="w8")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"id": "my model"}, "id must be up to 64 letters"),
        ({"id": "../elsewhere"}, "id must be up to 64 letters"),
        ({"version": 0}, "version must be from 1"),
        ({"max_answer_tokens": 0}, "max_answer_tokens must be from 1"),
    ],
)
def test_what_no_manifest_can_say_is_refused_before_the_export(
    settings: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ExportConfig(**settings)


def test_preset_goes_before_the_defaults_and_behind_every_table() -> None:
    config = from_tables(FitConfig, {}, {"preset": "paper"}, {"epochs": 3})
    assert (config.optimizer, config.dual) == ("rmsprop", "rmsprop")
    assert (config.initial_bias, config.epochs) == (5.0, 3)
    assert config.sparsity == "logarithmic"


@pytest.mark.parametrize("name", ["none", "paper"])
def test_preset_sets_fields_that_there_are(name: str) -> None:
    config = from_tables(FitConfig, {}, {"preset": name})
    for key, value in PRESETS[name].items():
        assert getattr(config, key) == value


def test_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no preset 'papre'.*none, paper"):
        from_tables(FitConfig, {}, {"preset": "papre"})


def test_multipliers_move_as_the_settings_say() -> None:
    assert isinstance(FitConfig().controller(), NuPI)
    ascent = FitConfig(dual="ascent", integral=0.7, restarts=False).controller()
    assert ascent == Ascent(rate=0.7, restarts=False, initial=15.0)
    assert isinstance(FitConfig(dual="rmsprop").controller(), RMSprop)


def test_epochs_are_counted_in_steps_or_in_passes() -> None:
    steps = FitConfig(epoch_steps=5, batch_size=4)
    assert (steps.texts_an_epoch(7), steps.steps_an_epoch(7)) == (20, 5)
    passes = FitConfig(epoch_steps=0, batch_size=4)
    assert (passes.texts_an_epoch(7), passes.steps_an_epoch(7)) == (7, 2)
