"""The graph that a benchmark measures, from wherever the command line names it."""

import argparse
from pathlib import Path
from typing import Literal

import onnx

from diffmask_service.bundle import read_bundle


def add_graph_flags(parser: argparse.ArgumentParser) -> None:
    """Give a parser the flags that say which graph is measured."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--graph", type=Path, help="an ONNX graph with its probes")
    source.add_argument("--bundle", type=Path, help="a bundle; its default graph")
    source.add_argument(
        "--checkpoint", type=Path, help="a classifier, to export as fp32 with --probes"
    )
    parser.add_argument("--probes", type=Path, help="its fitted probes")


def load_graph(arguments: argparse.Namespace) -> onnx.ModelProto:
    """Return the graph that a command line names.

    Args:
        arguments: With the values of `add_graph_flags`.

    Raises:
        SystemExit: A checkpoint without probes, or probes without a checkpoint.
    """
    if (arguments.checkpoint is None) != (arguments.probes is None):
        raise SystemExit("--checkpoint and --probes go together")
    if arguments.graph is not None:
        return onnx.load(arguments.graph)
    if arguments.bundle is not None:
        bundle = read_bundle(arguments.bundle)
        return onnx.load_from_string(bundle.graph(bundle.manifest.default_graph))
    return _export(arguments.checkpoint, arguments.probes)


def _export(checkpoint: Path, probes: Path) -> onnx.ModelProto:
    # Here and not above: a finished graph needs no torch.
    from diffmask_training.checkpoint import (  # noqa: PLC0415
        FittedProbe,
        load_probe,
    )
    from diffmask_training.classifier import load_classifier  # noqa: PLC0415
    from diffmask_training.export.onnx import export_graph  # noqa: PLC0415
    from diffmask_training.export.write import build_module  # noqa: PLC0415

    classifier = load_classifier(checkpoint)
    fitted: dict[Literal["input", "hidden"], FittedProbe] = {
        "input": load_probe(probes, "input"),
        "hidden": load_probe(probes, "hidden"),
    }
    return export_graph(
        build_module(classifier, fitted), vocabulary_size=len(classifier.tokenizer)
    )
