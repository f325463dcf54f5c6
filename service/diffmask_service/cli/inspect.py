"""`diffmask inspect`."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diffmask_service.bundle import Bundle, check_graph, read_bundle
from diffmask_service.cli.output import make_console, say
from diffmask_service.engine import Engine
from diffmask_service.errors import BundleError
from diffmask_service.render import BundleCard


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """One check: what was looked at, and what is wrong with it, if anything."""

    name: str
    problem: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Show what a bundle holds, how well its probes were fitted and how true its"
        " graphs are, and check it as a server would. Exit status 1 when a check fails."
    )
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="The directory.")


def run(arguments: argparse.Namespace) -> int:
    """Print the card and the checks; 1 when one of them fails."""
    console = make_console()
    try:
        bundle = read_bundle(arguments.bundle)
    except BundleError as error:
        checks = [_Check(name="files", problem=str(error))]
    else:
        console.print(BundleCard(bundle))
        sizes = sum(file.num_bytes for file in bundle.manifest.files.values())
        name = f"files: {len(bundle.manifest.files)} digests, {sizes / 1e6:.1f} MB"
        checks = [_Check(name=name), *_check_graphs(bundle)]
    for check in checks:
        if check.problem is None:
            say(f"  ok    {check.name}")
        else:
            say(f"  FAIL  {check.problem}")
    return int(any(check.problem is not None for check in checks))


def _check_graphs(bundle: Bundle) -> Iterator[_Check]:
    manifest = bundle.manifest
    for precision, graph in manifest.graphs.items():
        name = f"{graph.file}: self-contained, inputs and outputs as in the manifest"
        try:
            check_graph(bundle.graph(precision), manifest, graph.file)
        except BundleError as error:
            yield _Check(name=name, problem=str(error))
            continue
        yield _Check(name=name)
        num_cases = len(bundle.selftest.cases)
        name = f"{graph.file}: loads and passes {num_cases} self-tests here"
        try:
            Engine.open(bundle, precision=precision).close()
        except BundleError as error:
            yield _Check(name=name, problem=f"{graph.file}: {error}")
        else:
            yield _Check(name=name)
