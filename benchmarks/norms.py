"""What it costs on a CPU to let ONNX Runtime join each norm with the sum before it.

The service opens a graph without that fusion, which ONNX Runtime makes unless told not
to. Here a graph is opened both ways and all its outputs are asked for, on random texts,
one a run, interleaved so that both meet the same machine. Ratios are medians over
neighbouring runs. Where a process happens to put the weights in memory moves either by
some percent for as long as it lives, so several processes measure: printed is their
median, and in brackets the lowest and the highest.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.graphs import add_graph_flags, load_graph
from benchmarks.interleaved import measure_rounds, median_ratios
from benchmarks.results import add_result_flag, store, table
from diffmask_service.engine.feeds import Feeds, Row, feed
from diffmask_service.engine.runtime import open_graph

_TOKENS = (16, 32, 64, 128, 256, 512)
_SMALLEST_VOCABULARY = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What one process found at one length.

    Attributes:
        tokens: Of a text.
        rounds: Of both calls.
        joined_over_parted: With the fusion over without it, by the clock.
        cpu: The same, by CPU time.
    """

    tokens: int
    rounds: int
    joined_over_parted: float
    cpu: float


def main() -> None:
    """Measure every length in every process and print one table."""
    arguments = _parse()
    lengths: list[Comparison] = []
    for _ in range(arguments.processes):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
            lengths += executor.submit(measure_lengths, arguments).result()
    figures = {"lengths": [asdict(length) for length in lengths]}
    print("\n".join(describe(figures)))
    store("norms", figures, arguments=arguments)


def measure_lengths(arguments: argparse.Namespace) -> list[Comparison]:
    """Return what this process finds at every length.

    Raises:
        SystemExit: The graph as it is stored has its norms joined already.
    """
    graph = load_graph(arguments)
    if any(node.op_type == "SkipLayerNormalization" for node in graph.graph.node):
        raise SystemExit("the graph's norms are joined already; export it anew")
    content = graph.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    joined = onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"]
    )
    sessions = (open_graph(onnxruntime, content, device="cpu"), joined)
    names = [value.name for value in graph.graph.input]
    return [
        _measure(sessions, _feeds(names, tokens), arguments)
        for tokens in arguments.tokens
    ]


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    lengths = figures["lengths"]
    grouped = [
        (tokens, [length for length in lengths if length["tokens"] == tokens])
        for tokens in sorted({length["tokens"] for length in lengths})
    ]
    return [
        "How long a text takes when each norm is joined with the sum before it, over"
        f" how long it takes without. Medians of {len(grouped[0][1])} processes, in"
        " brackets the lowest and the highest.",
        "",
        *table(
            ["tokens", "joined / parted", "by CPU time"],
            [
                [tokens, _spread(group, "joined_over_parted"), _spread(group, "cpu")]
                for tokens, group in grouped
            ],
        ),
    ]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_graph_flags(parser)
    parser.add_argument("--tokens", type=int, nargs="+", default=_TOKENS)
    parser.add_argument("--processes", type=int, default=5, help="[%(default)s]")
    parser.add_argument(
        "--rounds", type=int, default=101, help="most rounds for a length [%(default)s]"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=3.0,
        help="aim for a length and a process, seconds [%(default)s]",
    )
    add_result_flag(parser)
    return parser.parse_args()


def _feeds(names: Sequence[str], tokens: int) -> Feeds:
    ids = np.random.default_rng(0).integers(5, _SMALLEST_VOCABULARY, tokens)
    return feed([Row(input_ids=ids, token_type_ids=np.zeros_like(ids))], names)


def _measure(
    sessions: Sequence[Any], feeds: Mapping[str, Any], arguments: argparse.Namespace
) -> Comparison:
    calls = [lambda opened=opened: opened.run(None, feeds) for opened in sessions]
    rounds = measure_rounds(calls, most=arguments.rounds, seconds=arguments.seconds)
    ratios = median_ratios(rounds, 1, over=0)
    return Comparison(
        tokens=feeds["input_ids"].shape[1],
        rounds=len(rounds),
        joined_over_parted=ratios.wall_seconds,
        cpu=ratios.cpu_seconds,
    )


def _spread(group: Sequence[Mapping[str, Any]], name: str) -> str:
    values = [length[name] for length in group]
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
