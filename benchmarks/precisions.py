"""How many explained texts a second each graph of a bundle answers on one core.

One text a run, unpadded, through the service's own session, all outputs. Graphs take
turns, so that they meet the same machine; prints medians of the ratios of neighbouring
runs, by the clock and by CPU time, which other work on the machine disturbs less.
"""

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import add_result_flag, store, table
from diffmask_service.bundle import prediction_outputs, read_bundle
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.session import Session

_FETCHES = ("logits", "input_gates", "hidden_gates")
_SMALLEST_VOCABULARY = 1000


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
    """Measure every length and print one table."""
    arguments = _parse()
    bundle = read_bundle(arguments.bundle)
    manifest = bundle.manifest
    sessions: dict[str, Session] = {
        name: Session(
            bundle.graph(name),
            inputs=manifest.inputs,
            predictions=prediction_outputs(manifest.task),
            name=name,
            device="cpu",
        )
        for name in manifest.graphs
    }
    if arguments.reference not in sessions:
        raise SystemExit(
            f"the bundle has no {arguments.reference} graph; it holds"
            f" {', '.join(sessions)}"
        )
    figures = {
        "reference": arguments.reference,
        "costs": [
            row
            for num_tokens in arguments.tokens
            for row in summarise(
                _measure(sessions, num_tokens, arguments.rounds),
                num_tokens=num_tokens,
                reference=arguments.reference,
            )
        ],
    }
    print("\n".join(describe(figures)))
    store("precisions", figures, arguments=arguments)


def summarise(
    rounds: Sequence[Mapping[str, Cost]], *, num_tokens: int, reference: str
) -> list[dict[str, Any]]:
    """Return the medians of every graph over the rounds of one length.

    Args:
        rounds: What each graph took, by its name; at least one round.
        num_tokens: Of the text.
        reference: The graph that the others are compared with.
    """
    return [
        {
            "tokens": num_tokens,
            "graph": name,
            "rounds": len(rounds),
            "texts_per_cpu_second": 1
            / statistics.median(costs[name].cpu_seconds for costs in rounds),
            "times_by_clock": statistics.median(
                costs[reference].wall_seconds / costs[name].wall_seconds
                for costs in rounds
            ),
            "times_by_cpu": statistics.median(
                costs[reference].cpu_seconds / costs[name].cpu_seconds
                for costs in rounds
            ),
        }
        for name in rounds[0]
    ]


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    times = f"times {figures['reference']}"
    return table(
        [
            "tokens",
            "graph",
            "rounds",
            "texts/CPU s",
            f"{times}, clock",
            f"{times}, CPU",
        ],
        [list(row.values()) for row in figures["costs"]],
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True, help="with its graphs")
    parser.add_argument(
        "--reference", default="fp32", help="the graph to compare with [%(default)s]"
    )
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument(
        "--rounds", type=int, default=51, help="for each length [%(default)s]"
    )
    add_result_flag(parser)
    return parser.parse_args()


def _measure(
    sessions: dict[str, Session], num_tokens: int, num_rounds: int
) -> list[dict[str, Cost]]:
    ids = np.random.default_rng(0).integers(5, _SMALLEST_VOCABULARY, num_tokens)
    row = Row(input_ids=ids, token_type_ids=np.zeros_like(ids))
    names = list(sessions)
    for name in names:
        sessions[name].run([row], fetches=_FETCHES)
    rounds = []
    for turn in range(num_rounds):
        # Who goes first changes, lest one always find the caches warm.
        order = names[turn % len(names) :] + names[: turn % len(names)]
        rounds.append({name: _cost(sessions[name], row) for name in order})
    return rounds


def _cost(session: Session, row: Row) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    session.run([row], fetches=_FETCHES)
    return Cost(
        wall_seconds=time.perf_counter() - wall, cpu_seconds=time.process_time() - cpu
    )


if __name__ == "__main__":
    main()
