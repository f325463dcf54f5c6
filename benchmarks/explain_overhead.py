"""What an explanation costs over the prediction alone.

Three calls on random inputs, interleaved so that they meet the same machine:

- predict: the graph cut at its logits, with no trace of the probes;
- explain: the whole graph, all outputs;
- no gates: the service's own session, asked for the logits alone.

Ratios are medians over neighbouring runs, by the clock and by CPU time, which other
work on the machine disturbs less. Where a process happens to put the weights in memory
moves either graph by some seven percent for as long as it lives, so every size is
measured in several processes: printed is their median, and in brackets the lowest and
the highest.
"""

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import onnx
import onnxruntime

from benchmarks.graphs import add_graph_flags, load_graph
from benchmarks.interleaved import Call, measure_rounds, median_ratios, median_seconds
from benchmarks.results import add_result_flag, store, table
from diffmask_service.engine.feeds import Row, feed
from diffmask_service.engine.runtime import open_graph
from diffmask_service.engine.session import Session

_TOKENS = (16, 32, 64, 128, 256, 512)
_BATCHES = (1, 8)
_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "keep")
_OUTPUTS = ["logits", "input_gates", "hidden_gates"]
_SMALLEST_VOCABULARY = 1000
_MOST_EXPLAIN = 1.10
_MOST_NO_GATES = 1.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What one process found at one size.

    Attributes:
        batch: Texts.
        tokens: Of each.
        rounds: Of all three calls.
        predict_seconds: Of the processor, median.
        explain_seconds: The same.
        explain: Over predict, by the clock.
        explain_cpu: The same, by CPU time.
        no_gates: Over predict, by the clock.
        no_gates_cpu: The same, by CPU time.
    """

    batch: int
    tokens: int
    rounds: int
    predict_seconds: float
    explain_seconds: float
    explain: float
    explain_cpu: float
    no_gates: float
    no_gates_cpu: float


def main() -> None:
    """Measure every size in every process and print one table."""
    arguments = _parse()
    sizes: list[Size] = []
    for process in range(arguments.processes):
        # A process of its own for each, one after the other.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
            sizes += executor.submit(measure_sizes, arguments).result()
        print(f"process {process + 1} of {arguments.processes} done", flush=True)
    figures = {"sizes": [asdict(size) for size in sizes]}
    print("\n".join(describe(figures)))
    store("explain_overhead", figures, arguments=arguments)


def measure_sizes(arguments: argparse.Namespace) -> list[Size]:
    """Return what this process finds at every size."""
    full = load_graph(arguments)
    inputs = [value.name for value in full.graph.input if value.name in _INPUTS]
    cut = onnx.utils.Extractor(full).extract_model(inputs, ["logits"])
    whole, predictor = (
        open_graph(onnxruntime, model.SerializeToString(), device="cpu")
        for model in (full, cut)
    )
    service = Session(full.SerializeToString(), inputs=tuple(inputs), name="graph")
    sizes = []
    for batch in arguments.batches:
        for tokens in arguments.tokens:
            calls = _calls(
                whole, predictor, service, inputs, batch=batch, tokens=tokens
            )
            sizes.append(_measure(calls, arguments, batch=batch, tokens=tokens))
    return sizes


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    grouped = list(_by_size(figures["sizes"]))
    rows = [
        [
            batch,
            tokens,
            _median(group, "predict_seconds"),
            _median(group, "explain_seconds"),
            _spread(group, "explain"),
            _spread(group, "explain_cpu"),
            _spread(group, "no_gates"),
        ]
        for (batch, tokens), group in grouped
    ]
    most = max(_median(group, "explain") for _, group in grouped)
    most_without = max(_median(group, "no_gates") for _, group in grouped)
    return [
        f"Explain over predict: at most {most:.3f} (target {_MOST_EXPLAIN:.2f}:"
        f" {_verdict(most, _MOST_EXPLAIN)}); a call without gates over predict: at most"
        f" {most_without:.3f} (target {_MOST_NO_GATES:.2f}:"
        f" {_verdict(most_without, _MOST_NO_GATES)}). Medians of"
        f" {len(grouped[0][1])} processes, in brackets the lowest and the highest.",
        "",
        *table(
            [
                "texts",
                "tokens",
                "predict, CPU s",
                "explain, CPU s",
                "explain / predict",
                "by CPU time",
                "no gates / predict",
            ],
            rows,
        ),
    ]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_graph_flags(parser)
    parser.add_argument("--batches", type=int, nargs="+", default=_BATCHES)
    parser.add_argument("--tokens", type=int, nargs="+", default=_TOKENS)
    parser.add_argument(
        "--processes",
        type=int,
        default=5,
        help="each measures every size anew [%(default)s]",
    )
    parser.add_argument(
        "--rounds", type=int, default=101, help="most rounds for a size [%(default)s]"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=5.0,
        help="aim for a size and a process, seconds; at least five rounds all the same"
        " [%(default)s]",
    )
    add_result_flag(parser)
    return parser.parse_args()


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
    rows = [Row(input_ids=row, token_type_ids=np.zeros_like(row)) for row in ids]
    fed = feed(rows, inputs)
    return (
        lambda: predictor.run(["logits"], fed),
        lambda: whole.run(_OUTPUTS, fed),
        lambda: service.run(rows, fetches=("logits",)),
    )


def _measure(
    calls: Sequence[Call], arguments: argparse.Namespace, *, batch: int, tokens: int
) -> Size:
    rounds = measure_rounds(calls, most=arguments.rounds, seconds=arguments.seconds)
    explain = median_ratios(rounds, 1, over=0)
    no_gates = median_ratios(rounds, 2, over=0)
    return Size(
        batch=batch,
        tokens=tokens,
        rounds=len(rounds),
        predict_seconds=median_seconds(rounds, 0),
        explain_seconds=median_seconds(rounds, 1),
        explain=explain.wall_seconds,
        explain_cpu=explain.cpu_seconds,
        no_gates=no_gates.wall_seconds,
        no_gates_cpu=no_gates.cpu_seconds,
    )


def _by_size(
    sizes: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[tuple[int, int], list[Mapping[str, Any]]]]:
    for batch, tokens in sorted({(size["batch"], size["tokens"]) for size in sizes}):
        yield (
            (batch, tokens),
            [s for s in sizes if (s["batch"], s["tokens"]) == (batch, tokens)],
        )


def _median(group: Sequence[Mapping[str, Any]], name: str) -> float:
    return statistics.median(float(size[name]) for size in group)


def _spread(group: Sequence[Mapping[str, Any]], name: str) -> str:
    values = [size[name] for size in group]
    return f"{_median(group, name):.3f} ({min(values):.3f} to {max(values):.3f})"


def _verdict(reached: float, most: float) -> str:
    return "met" if reached <= most else "**missed**"


if __name__ == "__main__":
    main()
