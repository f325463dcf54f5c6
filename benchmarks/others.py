"""Our explanations against other servers' plain predictions, in one paired run.

The same graph, cut at its logits for the others, the same tokenizer with the same
texts, one thread a run and as many workers; the same number of callers, who wait for
their answers. LitServe predicts over HTTP, MLServer over gRPC, ours predicts and
explains over gRPC. Each of the others runs twice: with the graph opened as ONNX Runtime
does it unless told otherwise, and with the fusions that ours leaves out left out there,
too. They are asked in turn, in an order that changes, while the others stand still;
what is told is medians over rounds of ratios within a round, by the clock and by CPU
time, which other work on the machine disturbs less.

The others want environments of their own; MLServer 1.7 counts on an event loop that
newer versions of uvloop do not make by themselves:

    python -m venv litserve
    litserve/bin/pip install litserve onnxruntime tokenizers
    python -m venv mlserver
    mlserver/bin/pip install 'mlserver==1.7.*' 'uvloop<0.22' onnxruntime tokenizers
    python -m benchmarks.others --bundle BUNDLE \
        --litserve litserve/bin/python --mlserver mlserver/bin/python
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contestants import (
    Contestant,
    litserve,
    mlserver,
    our_server,
    write_graph,
)
from benchmarks.results import add_result_flag, store, table
from benchmarks.traffic.plan import draw_text
from diffmask_service.bundle import DISABLED_OPTIMIZERS_BY_DEVICE

_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What one round with one server came to.

    Attributes:
        texts_per_second: By the clock, callers and server together.
        cpu_seconds_per_text: Of the server alone.
    """

    texts_per_second: float
    cpu_seconds_per_text: float


def main() -> None:
    """Start every server, ask them in turn, and print the rates."""
    arguments = _parse()
    with ExitStack() as stack:
        rounds = measure(
            _start_all(arguments, stack),
            callers=arguments.callers,
            num_texts=arguments.texts,
            rounds=arguments.rounds,
        )
    figures = summarise(rounds)
    print("\n".join(describe(figures)))
    store("others", figures, arguments=arguments)


def measure(
    contestants: Sequence[Contestant], *, callers: int, num_texts: int, rounds: int
) -> list[dict[str, Pace]]:
    """Return what every server came to in each round, by its name; ours is first.

    Args:
        contestants: All running, the first one ours.
        callers: Of each server, at the same time.
        num_texts: Of a round, for each server.
        rounds: How many.

    Raises:
        RuntimeError: A server gives other logits than ours.
    """
    generator = np.random.default_rng(0)
    texts = [draw_text(generator) for _ in range(num_texts)]
    _check_agreement(contestants, texts[0])
    for each in contestants:
        each.pause()
    found = []
    # The first round only warms up.
    for number in range(rounds + 1):
        turn = number % len(contestants)
        paces = {
            each.name: _pace(each, texts, callers=callers)
            for each in (*contestants[turn:], *contestants[:turn])
        }
        found.append({each.name: paces[each.name] for each in contestants})
    return found[1:]


def summarise(rounds: Sequence[Mapping[str, Pace]]) -> dict[str, Any]:
    """Return the medians of every server and of ours over each.

    Args:
        rounds: Of `measure`, at least one.
    """
    ours = next(iter(rounds[0]))
    return {
        name: {
            "texts_per_second": statistics.median(
                paces[name].texts_per_second for paces in rounds
            ),
            "ours_over_it": statistics.median(
                paces[ours].texts_per_second / paces[name].texts_per_second
                for paces in rounds
            ),
            "cpu_seconds_per_text": statistics.median(
                paces[name].cpu_seconds_per_text for paces in rounds
            ),
            "its_cpu_over_ours": statistics.median(
                paces[name].cpu_seconds_per_text / paces[ours].cpu_seconds_per_text
                for paces in rounds
            ),
        }
        for name in rounds[0]
    }


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    rows = [[name, *each.values()] for name, each in figures.items()]
    head = ["texts/s", "ours over it", "its CPU s a text", "over ours"]
    return table(["server", *head], rows)


def _start_all(arguments: argparse.Namespace, stack: ExitStack) -> list[Contestant]:
    started = [
        stack.enter_context(our_server(arguments.bundle, explains=explains))
        for explains in (True, False)
    ]
    peers = {
        "MLServer": (mlserver, arguments.mlserver),
        "LitServe": (litserve, arguments.litserve),
    }
    fewer = DISABLED_OPTIMIZERS_BY_DEVICE["cpu"]
    for how, disabled in (("", ()), (", opened as ours", fewer)):
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_graph(arguments.bundle, directory, disabled_optimizers=disabled)
        for name, (start, python) in peers.items():
            if python is not None:
                peer = start(
                    python.absolute(),
                    directory,
                    workers=len(os.sched_getaffinity(0)),
                    name=f"{name}, predictions{how}",
                )
                started.append(stack.enter_context(peer))
    return started


def _check_agreement(contestants: Sequence[Contestant], text: str) -> None:
    answers = {}
    for each in contestants:
        with each.connect() as ask:
            answers[each.name] = np.array(ask(text))
    ours = answers[contestants[0].name]
    for name, logits in answers.items():
        difference = float(abs(logits - ours).max())
        if difference > _TOLERANCE:
            raise RuntimeError(f"{name}: other logits, by {difference}")


def _pace(each: Contestant, texts: Sequence[str], *, callers: int) -> Pace:
    each.resume()
    try:
        with ExitStack() as stack, ThreadPoolExecutor(callers) as pool:
            asks = [stack.enter_context(each.connect()) for _ in range(callers)]
            for ask in asks:
                ask(texts[0])  # opens the connection

            def ask_all(place: int) -> None:
                for text in texts[place::callers]:
                    asks[place](text)

            cpu, wall = each.cpu_seconds(), time.perf_counter()
            list(pool.map(ask_all, range(callers)))
            return Pace(
                texts_per_second=len(texts) / (time.perf_counter() - wall),
                cpu_seconds_per_text=(each.cpu_seconds() - cpu) / len(texts),
            )
    finally:
        each.pause()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--litserve", type=Path, help="Python of its environment")
    parser.add_argument("--mlserver", type=Path, help="Python of its environment")
    parser.add_argument("--rounds", type=int, default=7, help="[%(default)s]")
    parser.add_argument("--texts", type=int, default=400, help="[%(default)s]")
    parser.add_argument("--callers", type=int, default=8, help="[%(default)s]")
    add_result_flag(parser)
    arguments = parser.parse_args()
    if arguments.litserve is None and arguments.mlserver is None:
        parser.error("give --litserve, --mlserver or both")
    return arguments


if __name__ == "__main__":
    main()
