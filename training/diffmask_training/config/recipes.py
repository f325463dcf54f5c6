"""Reading of recipes, and settings out of their tables.

A recipe is a TOML file with the tables `data`, `finetune`, `fit`, `fit.input`,
`fit.hidden` and `export`; each command reads the tables that concern it.
"""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from diffmask_training.config.presets import PRESETS
from diffmask_training.errors import ConfigError


def read_recipe(name: str) -> Mapping[str, Any]:
    """Read a recipe by file name, or by the name of one that ships with the package.

    Args:
        name: A path of a TOML file, or a name such as `sst2-minilm`.

    Raises:
        ConfigError: There is no such recipe, or it is not valid TOML.
    """
    shipped = resources.files("diffmask_training") / "recipes"
    path = Path(name)
    try:
        if path.suffix == ".toml":
            return tomllib.loads(path.read_text(encoding="utf-8"))
        return tomllib.loads((shipped / f"{name}.toml").read_text(encoding="utf-8"))
    except OSError as error:
        known = sorted(f.name[:-5] for f in shipped.iterdir() if f.name[-5:] == ".toml")
        raise ConfigError(
            f"no recipe {name!r}; name a .toml file or one of {', '.join(known)}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {name}: {error}") from error


def from_tables(config_class: type[Any], *tables: Mapping[str, Any]) -> Any:
    """Build settings from recipe tables, later tables going before earlier ones.

    A preset that one of them names goes before the defaults and behind every table.
    Nested tables are not fields and are passed over; so are fields of the shared `data`
    table that a command does not have.

    Raises:
        ConfigError: A table of the command itself names a field that it does not have,
            or a value has the wrong type.
    """
    types = {field.name: field for field in dataclasses.fields(config_class)}
    values = _preset_values(tables) if "preset" in types else {}
    for position, table in enumerate(tables):
        for key, value in table.items():
            if isinstance(value, Mapping):
                continue
            if key in types:
                values[key] = _converted(key, value, types[key])
            elif position > 0:
                raise ConfigError(
                    f"recipe: {config_class.__name__} has no field {key!r}; fields are"
                    f" {', '.join(types)}"
                )
    return config_class(**values)


def _preset_values(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    named = [table["preset"] for table in tables if "preset" in table]
    name = named[-1] if named else "none"
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}; presets are {', '.join(PRESETS)}")
    return dict(PRESETS[name])


def _converted(key: str, value: Any, field: dataclasses.Field[Any]) -> Any:
    # TOML has no paths and no tuples; None stands for an optional path or number.
    default = field.default
    if float in get_args(field.type):
        default = 0.0
    if default is None or isinstance(default, Path):
        if not isinstance(value, str):
            raise ConfigError(f"recipe: {key} must be a path, not {value!r}")
        return Path(value)
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    is_number = isinstance(default, float) and isinstance(value, int | float)
    if type(value) is not type(default) and not (
        is_number and not isinstance(value, bool)
    ):
        raise ConfigError(
            f"recipe: {key} must be a {type(default).__name__}, not {value!r}"
        )
    return value
