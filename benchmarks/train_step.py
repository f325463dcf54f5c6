"""What one optimisation step costs for each state that it visits, against the paper's.

Two loops fit the same probe on the same batch, interleaved so that they meet the same
machine:

- ours: one plain run, then every text masked at several states in one further run, one
  step of the probe and one of each multiplier (`diffmask_training.trainer`);
- published: the loop of De Cao et al. 2020 (`benchmarks.published_loop`), four runs of
  the whole model a step.

Both in float32. Prints medians of the ratios of neighbouring steps, each divided by the
states that its step visits: the published loop visits one for the probe.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import add_result_flag, store, table

_TARGET = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one step took, for each state that it visits.

    Attributes:
        wall_seconds: By the clock.
        cpu_seconds: Of the processor, for the whole process.
    """

    wall_seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Two neighbouring steps."""

    ours: Cost
    published: Cost


def main() -> None:
    """Measure both kinds of probe and print one table."""
    arguments = _parse()
    # Here and not above: the report of the figures needs no torch.
    import torch  # noqa: PLC0415

    from benchmarks.fitting_steps import open_loops  # noqa: PLC0415

    torch.set_num_threads(arguments.threads)
    steps = {}
    for loops in open_loops(
        arguments.checkpoint,
        num_texts=arguments.batch,
        num_tokens=arguments.tokens,
        rounds=arguments.rounds,
    ):
        rounds = [
            Round(
                ours=_timed(loops.ours, num_states=loops.states_per_step),
                published=_timed(loops.published, num_states=1),
            )
            for _ in range(arguments.rounds)
        ]
        steps[loops.kind] = summarise(rounds)
    figures = {"torch": torch.__version__, "steps": steps}
    print("\n".join(describe(figures)))
    store("train_step", figures, arguments=arguments)


def summarise(rounds: Sequence[Round]) -> dict[str, float]:
    """Return the medians of the rounds, and of the ratios within them.

    Args:
        rounds: At least one.
    """
    median = statistics.median
    return {
        "ours_cpu_seconds": median(each.ours.cpu_seconds for each in rounds),
        "published_cpu_seconds": median(each.published.cpu_seconds for each in rounds),
        "ratio": median(
            each.ours.wall_seconds / each.published.wall_seconds for each in rounds
        ),
        "cpu_ratio": median(
            each.ours.cpu_seconds / each.published.cpu_seconds for each in rounds
        ),
    }


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    steps = figures["steps"]
    highest = max(step["ratio"] for step in steps.values())
    verdict = "met" if highest <= _TARGET else "**missed**"
    return [
        f"For each state visited, at most {highest:.2f} times the published loop"
        f" (target {_TARGET}: {verdict}). torch {figures['torch']}.",
        "",
        *table(
            [
                "gates",
                "ours, CPU s a state",
                "published, CPU s a state",
                "ours / published",
                "by CPU time",
            ],
            [[kind, *step.values()] for kind, step in steps.items()],
        ),
    ]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--checkpoint", type=Path, help="a classifier [a random 6-layer BERT]"
    )
    parser.add_argument("--batch", type=int, default=16, help="texts [%(default)s]")
    parser.add_argument(
        "--tokens", type=int, default=32, help="of a text [%(default)s]"
    )
    parser.add_argument("--rounds", type=int, default=30, help="steps [%(default)s]")
    parser.add_argument("--threads", type=int, default=2, help="[%(default)s]")
    add_result_flag(parser)
    return parser.parse_args()


def _timed(step: Callable[[], object], *, num_states: int) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return Cost(
        wall_seconds=(time.perf_counter() - wall) / num_states,
        cpu_seconds=(time.process_time() - cpu) / num_states,
    )


if __name__ == "__main__":
    main()
