"""Settings out of flags and variables, checked, and shown again."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from diffmask_service.config.service import ServiceConfig
from diffmask_service.errors import StartError

_PREFIX = "DIFFMASK_"
# Neither a login, nor a query that may hold a key.
_BARE_URL = re.compile(r"(\w+://)?[\w.:\[\]-]+(/[\w./-]*)?")
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give a parser one flag for each setting; values stay text for `read_config`.

    The help of a flag names its unit, its default and what is taken.

    Args:
        parser: Where the flags go; an absent flag leaves no attribute.
    """
    for setting in fields(ServiceConfig):
        meaning = setting.metadata["meaning"]
        # A switch may stand alone: `--insecure` is `--insecure true`.
        switch = {"nargs": "?", "const": "true"}
        more: dict[str, Any] = switch if isinstance(setting.default, bool) else {}
        parser.add_argument(
            "--" + setting.name.replace("_", "-"),
            default=argparse.SUPPRESS,
            metavar=_unit(setting),
            help=f"{meaning} [{_shown_values(setting)}]".replace("%", "%%"),
            **more,
        )


def shown_default(setting: Field[Any]) -> str:
    """Return how help and documentation write a setting's default."""
    if isinstance(setting.default, bool):
        return str(setting.default).lower()
    if setting.default == Path():
        return "none"
    return str(setting.default) or "empty"


def _unit(setting: Field[Any]) -> str:
    # A name ends in its unit, or in the noun that is counted.
    choices = setting.metadata["choices"]
    if choices:
        return "{" + ",".join(filter(None, choices)) + "}"
    if isinstance(setting.default, bool):
        return "true|false"
    return "PATH" if setting.type is Path else setting.name.split("_")[-1].upper()


def _shown_values(setting: Field[Any]) -> str:
    low, high = setting.metadata["at_least"], setting.metadata["at_most"]
    bounds = "" if low is None else f"; {low} to {high}"
    return shown_default(setting) + bounds


def read_config(
    flags: Mapping[str, object], environment: Mapping[str, str]
) -> ServiceConfig:
    """Put the settings together and check them.

    Args:
        flags: Text by field name, as `vars` gives it for a parsed command line; other
            names are passed over.
        environment: Variables, such as `os.environ`.

    Raises:
        StartError: Values are wrong; all problems are named at once.
    """
    values: dict[str, Any] = {}
    problems = _unknown_variables(environment)
    for setting in fields(ServiceConfig):
        variable = _PREFIX + setting.name.upper()
        if setting.name in flags:
            source, text = (
                "--" + setting.name.replace("_", "-"),
                str(flags[setting.name]),
            )
        elif variable in environment:
            source, text = variable, environment[variable]
        else:
            continue
        try:
            values[setting.name] = _parse(setting, text)
        except ValueError as error:
            problems.append(f"{source}: {error}")
    problems += ServiceConfig(**values).contradictions()
    if problems:
        raise wrong_settings(problems)
    return ServiceConfig(**values)


def wrong_settings(problems: Sequence[str]) -> StartError:
    """Return the error that names problems of the settings, one a line."""
    return StartError("wrong settings:\n  " + "\n  ".join(problems))


def format_config(config: ServiceConfig) -> str:
    """Return the effective settings, one a line, secrets masked."""
    lines = []
    for setting in fields(config):
        value = getattr(config, setting.name)
        shown = _masked(value) if setting.metadata["is_secret"] else value
        lines.append(f"{setting.name} = {shown}")
    return "\n".join(lines)


def _masked(value: str) -> str:
    return value if not value or _BARE_URL.fullmatch(value) else "********"


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    known = {_PREFIX + setting.name.upper() for setting in fields(ServiceConfig)}
    return [
        f"{name}: no such setting; known are {', '.join(sorted(known))}"
        for name in sorted(environment)
        if name.startswith(_PREFIX) and name not in known
    ]


def _parse(setting: Field[Any], text: str) -> Any:
    if isinstance(setting.default, bool):
        return _parse_switch(text)
    choices = setting.metadata["choices"]
    kind: Callable[[str], Any] = str if choices else setting.type  # type: ignore[assignment]
    try:
        value = kind(text)
    except ValueError:
        noun = "a whole number" if kind is int else "a number"
        raise ValueError(f"{text!r} is not {noun}") from None
    if text and value == Path():
        # The present folder is spelled like no path at all.
        return Path.cwd()
    if choices and value not in choices:
        names = ", ".join(choice for choice in choices if choice)
        raise ValueError(f"{text!r} is not one of {names}")
    low, high = setting.metadata["at_least"], setting.metadata["at_most"]
    # Written so that "nan" fails as well.
    if low is not None and not low <= value <= high:
        raise ValueError(f"{text} is not between {low} and {high}")
    return value


def _parse_switch(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")
