"""What an explanation costs over the prediction alone.

Three calls on random inputs, interleaved so that they meet the same machine:

- predict: the graph cut at its logits, with no trace of the probes;
- explain: the whole graph, all outputs;
- no gates: the service's own session, asked for the logits alone.

Prints medians of the ratios of neighbouring runs, by the clock and by CPU time, which
other work on the machine disturbs less.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime

from diffmask_service.bundle import read_bundle
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.session import Session

_TOKENS = (16, 32, 64, 128, 256, 512)
_BATCHES = (1, 8)
_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "keep")
_OUTPUTS = ["logits", "input_gates", "hidden_gates"]
_SMALLEST_VOCABULARY = 1000
_LEAST_ROUNDS = 5

Call = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one run took.

    Attributes:
        wall_seconds: By the clock.
        cpu_seconds: Of the processor, for the whole process.
    """

    wall_seconds: float
    cpu_seconds: float


def main() -> None:
    """Measure every size and print one table."""
    arguments = _parse()
    full = _load_graph(arguments)
    inputs = [value.name for value in full.graph.input if value.name in _INPUTS]
    cut = onnx.utils.Extractor(full).extract_model(inputs, ["logits"])
    print(
        f"nodes: {len(full.graph.node)} with probes, {len(cut.graph.node)} cut at the"
        f" logits; one thread, ONNX Runtime {onnxruntime.__version__}"
    )
    whole, predictor = _open(full), _open(cut)
    service = Session(full.SerializeToString(), inputs=tuple(inputs), name="graph")
    print(
        f"{'batch':>5} {'tokens':>6} {'rounds':>6} | {'predict':>9} {'explain':>9}"
        f" CPU s | {'explain/predict':>15} {'CPU':>6} |"
        f" {'no gates/predict':>16} {'CPU':>6}"
    )
    for batch in arguments.batches:
        for tokens in arguments.tokens:
            calls = _calls(
                whole, predictor, service, inputs, batch=batch, tokens=tokens
            )
            rounds = _measure(calls, arguments.rounds, arguments.seconds)
            print(_row(batch, tokens, rounds), flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--graph", type=Path, help="an ONNX graph with its probes")
    source.add_argument("--bundle", type=Path, help="a bundle; its default graph")
    source.add_argument(
        "--checkpoint", type=Path, help="a classifier, to export as fp32 with --probes"
    )
    parser.add_argument("--probes", type=Path, help="its fitted probes")
    parser.add_argument("--batches", type=int, nargs="+", default=_BATCHES)
    parser.add_argument("--tokens", type=int, nargs="+", default=_TOKENS)
    parser.add_argument(
        "--rounds", type=int, default=101, help="most rounds for a size [%(default)s]"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=20.0,
        help="aim for a size, seconds; at least five rounds all the same [%(default)s]",
    )
    arguments = parser.parse_args()
    if (arguments.checkpoint is None) != (arguments.probes is None):
        parser.error("--checkpoint and --probes go together")
    return arguments


def _load_graph(arguments: argparse.Namespace) -> onnx.ModelProto:
    if arguments.graph is not None:
        return onnx.load(arguments.graph)
    if arguments.bundle is not None:
        bundle = read_bundle(arguments.bundle)
        return onnx.load_from_string(bundle.graph(bundle.manifest.default_graph))
    # Here and not above: a finished graph needs no torch.
    from diffmask_training.checkpoint import (  # noqa: PLC0415
        FittedProbe,
        load_probe,
    )
    from diffmask_training.classifier import load_classifier  # noqa: PLC0415
    from diffmask_training.export.onnx import export_graph  # noqa: PLC0415
    from diffmask_training.export.write import build_module  # noqa: PLC0415

    classifier = load_classifier(arguments.checkpoint)
    fitted: dict[Literal["input", "hidden"], FittedProbe] = {
        "input": load_probe(arguments.probes, "input"),
        "hidden": load_probe(arguments.probes, "hidden"),
    }
    return export_graph(
        build_module(classifier, fitted), vocabulary_size=len(classifier.tokenizer)
    )


def _open(model: onnx.ModelProto) -> Any:
    # As the service opens a graph.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _calls(
    whole: Any,
    predictor: Any,
    service: Session,
    inputs: Sequence[str],
    *,
    batch: int,
    tokens: int,
) -> tuple[Call, Call, Call]:
    ids = np.random.default_rng(0).integers(5, _SMALLEST_VOCABULARY, (batch, tokens))
    feeds = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
        "keep": np.ones(ids.shape, dtype=np.float32),
    }
    fed = {name: feeds[name] for name in inputs}
    rows = [
        Row(input_ids=row, token_type_ids=np.zeros_like(row))
        for row in feeds["input_ids"]
    ]
    return (
        lambda: predictor.run(["logits"], fed),
        lambda: whole.run(_OUTPUTS, fed),
        lambda: service.run(rows, fetches=("logits",)),
    )


def _measure(calls: Sequence[Call], most: int, seconds: float) -> list[dict[int, Cost]]:
    for call in calls:
        call()
    began = time.perf_counter()
    rounds: list[dict[int, Cost]] = []
    while len(rounds) < most and (
        len(rounds) < _LEAST_ROUNDS or time.perf_counter() - began < seconds
    ):
        # Who goes first changes, lest one always find the caches warm.
        order = [(len(rounds) + turn) % len(calls) for turn in range(len(calls))]
        rounds.append({index: _cost(calls[index]) for index in order})
    return rounds


def _cost(call: Call) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Cost(
        wall_seconds=time.perf_counter() - wall, cpu_seconds=time.process_time() - cpu
    )


def _row(batch: int, tokens: int, rounds: Sequence[dict[int, Cost]]) -> str:
    def median(index: int) -> float:
        return statistics.median(costs[index].cpu_seconds for costs in rounds)

    def ratios(index: int) -> tuple[float, float]:
        wall = [c[index].wall_seconds / c[0].wall_seconds for c in rounds]
        cpu = [c[index].cpu_seconds / c[0].cpu_seconds for c in rounds]
        return statistics.median(wall), statistics.median(cpu)

    explain, without = ratios(1), ratios(2)
    return (
        f"{batch:>5} {tokens:>6} {len(rounds):>6} | {median(0):>9.5f}"
        f" {median(1):>9.5f}       | {explain[0]:>15.3f} {explain[1]:>6.3f} |"
        f" {without[0]:>16.3f} {without[1]:>6.3f}"
    )


if __name__ == "__main__":
    main()
