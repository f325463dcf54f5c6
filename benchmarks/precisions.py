"""How many explained texts a second each graph of a bundle answers on one core.

One text a run, unpadded, through the service's own session, all outputs. Graphs take
turns, so that they meet the same machine; prints medians of the ratios of neighbouring
runs, by the clock and by CPU time, which other work on the machine disturbs less.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

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
    sessions = {
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
    print(f"ONNX Runtime {onnxruntime.__version__}, one thread, one text a run")
    print(
        f"{'tokens':>6} {'graph':>6} {'rounds':>6} | {'texts/CPU s':>11} |"
        f" {'times ' + arguments.reference:>10} {'CPU':>6}"
    )
    for num_tokens in arguments.tokens:
        rounds = _measure(sessions, num_tokens, arguments.rounds)
        for name in sessions:
            print(_row(num_tokens, name, rounds, reference=arguments.reference))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True, help="with its graphs")
    parser.add_argument(
        "--reference", default="fp32", help="the graph to compare with [%(default)s]"
    )
    parser.add_argument("--tokens", type=int, nargs="+", default=(16, 32, 64, 128))
    parser.add_argument(
        "--rounds", type=int, default=51, help="for each length [%(default)s]"
    )
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


def _row(
    num_tokens: int, name: str, rounds: Sequence[dict[str, Cost]], *, reference: str
) -> str:
    seconds = statistics.median(costs[name].cpu_seconds for costs in rounds)
    wall = statistics.median(
        costs[reference].wall_seconds / costs[name].wall_seconds for costs in rounds
    )
    cpu = statistics.median(
        costs[reference].cpu_seconds / costs[name].cpu_seconds for costs in rounds
    )
    return (
        f"{num_tokens:>6} {name:>6} {len(rounds):>6} | {1 / seconds:>11.1f} |"
        f" {wall:>10.2f} {cpu:>6.2f}"
    )


if __name__ == "__main__":
    main()
