"""Commands of `diffmask-train`: parsing and printing only.

Flags come from the settings' own fields. A recipe supplies defaults, a flag goes before
it. Heavy imports wait until a command is known, so that `--help` answers at once.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffmask_service import __version__

_OVERVIEW = """\
Fit DiffMask probes on a frozen fine-tuned transformer and export them for serving.

The usual order:
  diffmask-train fit --kind input  --checkpoint DIR --data DIR --train texts.csv
  diffmask-train fit --kind hidden --checkpoint DIR --data DIR --train texts.csv
  diffmask-train export --checkpoint DIR --data DIR --train texts.csv --bundle DIR
  diffmask serve --bundle DIR
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    """One command.

    Attributes:
        summary: One line for the overview.
        config: Name of its settings class in `config.py`.
        tables: Recipe tables that concern it; `{kind}` stands for the kind of probe.
        run: Name of the function in `commands.py` that carries it out.
    """

    summary: str
    config: str
    tables: tuple[str, ...]
    run: str


_COMMANDS: Mapping[str, _Command] = {
    "finetune": _Command(
        summary="fine-tune a classifier, where there is none yet",
        config="FinetuneConfig",
        tables=("finetune",),
        run="run_finetune",
    ),
    "fit": _Command(
        summary="fit the probe of one kind, input or hidden",
        config="FitConfig",
        tables=("fit", "fit.{kind}"),
        run="run_fit",
    ),
    "evaluate": _Command(
        summary="measure fitted probes, or a bundle, on the test texts",
        config="EvaluateConfig",
        tables=("evaluate",),
        run="run_evaluate",
    ),
    "refine": _Command(
        summary="find the gates of single texts by optimisation",
        config="RefineConfig",
        tables=("refine",),
        run="run_refine",
    ),
    "randomise": _Command(
        summary="compare explanations with those of spoilt classifiers",
        config="RandomiseConfig",
        tables=("fit", "fit.input", "randomise"),
        run="run_randomise",
    ),
    "shortcuts": _Command(
        summary="plant shortcuts in the training texts and look for them",
        config="ShortcutConfig",
        tables=("fit", "fit.input", "shortcuts"),
        run="run_shortcuts",
    ),
    "export": _Command(
        summary="write a bundle from a classifier and its two probes",
        config="ExportConfig",
        tables=("export",),
        run="run_export",
    ),
    "verify": _Command(
        summary="check a bundle against what it was made from",
        config="VerifyConfig",
        tables=("verify",),
        run="run_verify",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: Command line without the program's name; the process's own when None.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:
        print(f"diffmask-train {__version__}")
        return 0
    if not given or given[0] in {"-h", "--help"} or given[0] not in _COMMANDS:
        return _overview(given)
    name = given[0]
    try:
        config_module = importlib.import_module("diffmask_training.config")
        errors = importlib.import_module("diffmask_training.errors")
        service_errors = importlib.import_module("diffmask_service.errors")
    except ModuleNotFoundError as error:
        print(
            f"diffmask-train: {error.name} is not installed; install the training"
            f" extra:"
            " pip install 'diffmask-service[training]'",
            file=sys.stderr,
        )
        return 2
    try:
        config = _parse(name, given[1:], config_module)
        commands = importlib.import_module("diffmask_training.commands")
        run: Callable[[Any], int] = getattr(commands, _COMMANDS[name].run)
        return run(config)
    except (errors.TrainingError, service_errors.DiffMaskError) as error:
        print(f"diffmask-train {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"diffmask-train {name}: interrupted", file=sys.stderr)
        return 130


def _overview(given: Sequence[str]) -> int:
    lines = [_OVERVIEW, "commands:"]
    lines += [f"  {name:10} {c.summary}" for name, c in _COMMANDS.items()]
    lines += ["", "Each has its own --help; --recipe NAME supplies its defaults."]
    lines += ["--version says which release this is."]
    is_help = not given or given[0] in {"-h", "--help"}
    if not is_help:
        lines.insert(0, f"diffmask-train: no command {given[0]!r}\n")
    print("\n".join(lines), file=sys.stdout if is_help else sys.stderr)
    return 0 if is_help else 2


def _parse(name: str, rest: Sequence[str], config_module: Any) -> Any:
    tyro = importlib.import_module("tyro")
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--recipe")
    first.add_argument("--kind")
    first.add_argument("--preset")
    known, _ = first.parse_known_args(list(rest))
    command = _COMMANDS[name]
    config_class = getattr(config_module, command.config)
    default = config_class()
    flags = list(rest)
    recipe = {}
    if known.recipe is not None:
        recipe = config_module.read_recipe(known.recipe)
        flags = _without_recipe(flags)
    if known.recipe is not None or known.preset is not None:
        tables = [recipe.get("data", {})]
        tables += [
            _table(recipe, path.format(kind=known.kind or "input"))
            for path in command.tables
        ]
        if known.preset is not None:
            tables.append({"preset": known.preset})
        default = config_module.from_tables(config_class, *tables)
    description = (
        f"{config_class.__doc__.partition('Attributes:')[0].strip()}\n\n"
        "--recipe NAME|FILE supplies defaults: a recipe that ships with the package, or"
        " a TOML file."
    )
    if name == "fit":
        description += f"\n\n{config_module.describe_presets()}"
    return tyro.cli(
        config_class,
        args=flags,
        default=default,
        prog=f"diffmask-train {name}",
        description=description,
    )


def _table(recipe: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    table: Any = recipe
    for key in path.split("."):
        table = table.get(key, {})
    return table  # type: ignore[no-any-return]


def _without_recipe(flags: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for flag in flags:
        if skip:
            skip = False
        elif flag == "--recipe":
            skip = True
        elif not flag.startswith("--recipe="):
            kept.append(flag)
    return kept
