"""Explanations a second: our engine against integrated gradients by Captum.

Same checkpoint, same texts, same machine, same number of threads. Captum explains one
text at a time, unpadded, with all its steps in as few batches as asked, and gets the
predicted class for free; parameters need no gradients. Our engine answers whole
requests: tokenizing, both kinds of gates for every state, decoding.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import add_result_flag, store, table
from diffmask_service.app import open_engine
from diffmask_service.core.values import ExplainOptions, TextInput
from diffmask_service.engine import Engine, EngineLimits

_TEXTS = (
    "A fast , funny , highly enjoyable movie .",
    "The plot goes nowhere , and it takes two hours to get there .",
    "An intelligent , earnest , intimate film that drops the ball only when it pauses"
    " for blunt exposition to make sure you 're getting its metaphysical point .",
    "Not bad at all - the ending , though , felt rushed and a little dull .",
    "It 's slow -- very , very slow .",
    "Although laced with humor and a few fanciful touches , the film is a refreshingly"
    " serious look at young women .",
    "You do n't have to know about music to appreciate the film 's easygoing blend of"
    " comedy and romance .",
    "A sometimes tedious film .",
)
_TEXTS_PER_REQUEST = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What one round came to, texts a second.

    Attributes:
        engine: Ours.
        captum: Of integrated gradients.
    """

    engine: float
    captum: float


def main() -> None:
    """Measure both and print the ratio."""
    arguments = _parse()
    # Here and not above: the report of the figures needs no torch.
    from benchmarks.integrated_gradients import open_captum  # noqa: PLC0415

    texts = _read_texts(arguments.texts)
    # Every request may wait as long as it takes: only the rate is of interest.
    limits = EngineLimits(
        workers=arguments.threads, queue_tokens=1 << 40, default_deadline_seconds=1e5
    )
    engine = open_engine(arguments.bundle, limits=limits)
    explain_by_captum = open_captum(
        arguments.checkpoint,
        threads=arguments.threads,
        steps=arguments.steps,
        internal_batch_size=arguments.internal_batch_size,
    )

    def run_engine() -> None:
        asyncio.run(_ask(engine, texts * arguments.repeat))

    def run_captum() -> None:
        for text in texts:
            explain_by_captum(text)

    run_engine()
    explain_by_captum(texts[0])
    rounds = [
        Rates(
            engine=len(texts) * arguments.repeat / _seconds(run_engine),
            captum=len(texts) / _seconds(run_captum),
        )
        for _ in range(arguments.rounds)
    ]
    engine.close()
    figures = summarise(rounds) | {
        "texts": len(texts),
        "graph": engine.description.identity.precision,
        "steps": arguments.steps,
    }
    print("\n".join(describe(figures)))
    store("explainers", figures, arguments=arguments)


def summarise(rounds: Sequence[Rates]) -> dict[str, Any]:
    """Return the medians of both, and of the ratio of each round.

    Args:
        rounds: At least one.
    """
    return {
        "engine_per_second": statistics.median(rates.engine for rates in rounds),
        "captum_per_second": statistics.median(rates.captum for rates in rounds),
        "ratio": statistics.median(rates.engine / rates.captum for rates in rounds),
    }


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    rows = [
        [f"engine, {figures['graph']}", figures["engine_per_second"]],
        [
            f"integrated gradients, {figures['steps']} steps",
            figures["captum_per_second"],
        ],
    ]
    return [
        *table(["explains", "texts/s"], rows),
        "",
        f"Medians over {figures['texts']} texts; that of the ratios of neighbouring"
        f" runs is {figures['ratio']:.0f}.",
    ]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="what the bundle was made from"
    )
    parser.add_argument("--texts", type=Path, help="one text a line [a few reviews]")
    parser.add_argument("--threads", type=int, default=1, help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="[%(default)s]")
    parser.add_argument(
        "--repeat",
        type=int,
        default=10,
        help="the engine explains every text so often in a round [%(default)s]",
    )
    parser.add_argument("--steps", type=int, default=50, help="[%(default)s]")
    parser.add_argument(
        "--internal-batch-size",
        type=int,
        default=50,
        help="steps that share a run in Captum [%(default)s]",
    )
    add_result_flag(parser)
    return parser.parse_args()


def _read_texts(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return _TEXTS
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


async def _ask(engine: Engine, texts: Sequence[str]) -> None:
    inputs = [TextInput(text=text) for text in texts]
    batches = [
        inputs[start : start + _TEXTS_PER_REQUEST]
        for start in range(0, len(inputs), _TEXTS_PER_REQUEST)
    ]
    await asyncio.gather(
        *(engine.explain(batch, ExplainOptions()) for batch in batches)
    )


def _seconds(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
