"""What is sent when: drawn in full before the first call, from one seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.traffic.targets import Target, Wish

_WORDS = (  # noqa: SIM905 - as a list it would fill half the module
    "the a of and is it this that film movie story plot actor scene script with for"
    " good bad funny dull clever slow moving empty warm cold bright tired never always"
    " almost hardly truly quite rather more less than before after every no one"
).split()
_WISHES: tuple[Wish, ...] = ("predict", "explain", "verify")
# Natural lengths: half of the texts up to 20 words, one in twenty over 75.
_MEDIAN_WORDS = 20.0
_SPREAD = 0.8
_MAX_WORDS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCall:
    """A call before it is sent.

    Attributes:
        at_seconds: When it is meant to be sent, seconds after the start of the run.
        message: The bytes of its request.
        num_texts: Texts that it holds.
        timeout_seconds: Its deadline, seconds after it is sent.
        cancel_after_seconds: When its caller loses interest, seconds after it is sent;
            None for never.
    """

    at_seconds: float
    message: bytes
    num_texts: int
    timeout_seconds: float
    cancel_after_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What the calls of a run are like.

    Attributes:
        predicted_share: Of calls that want the prediction alone, in [0, 1].
        verified_share: Of calls that want the explanation verified; the others want it
            as it is.
        max_texts: Most texts of a call; their number is uniform from 1.
        timeout_seconds: Deadline of every call, seconds, > 0.
        cancelled_share: Of calls whose caller leaves, in [0, 1].
        cancel_within_seconds: Callers leave uniformly within this time, seconds.
    """

    predicted_share: float = 0.3
    verified_share: float = 0.1
    max_texts: int = 2
    timeout_seconds: float = 2.0
    cancelled_share: float = 0.02
    cancel_within_seconds: float = 0.2


def poisson_arrivals(
    rate: float, *, seconds: float, generator: np.random.Generator
) -> tuple[float, ...]:
    """Return the arrival times of a Poisson process, seconds, ascending.

    Args:
        rate: Mean arrivals a second, > 0.
        seconds: Length of the run, seconds; all arrivals lie before its end.
        generator: Source of chance.
    """
    times: list[float] = []
    now = float(generator.exponential(1 / rate))
    while now < seconds:
        times.append(now)
        now += float(generator.exponential(1 / rate))
    return tuple(times)


def draw_text(generator: np.random.Generator) -> str:
    """Return a text of natural length."""
    words = round(float(generator.lognormal(np.log(_MEDIAN_WORDS), _SPREAD)))
    chosen = generator.integers(len(_WORDS), size=min(max(words, 1), _MAX_WORDS))
    return " ".join(_WORDS[index] for index in chosen)


def draw_plan(
    arrivals: Sequence[float],
    *,
    mix: Mix,
    target: Target,
    generator: np.random.Generator,
) -> tuple[PlannedCall, ...]:
    """Return one call for each arrival.

    Args:
        arrivals: When they are meant to be sent, seconds after the start.
        mix: What they are like.
        target: The method that they call.
        generator: Source of chance.
    """
    explained_share = 1 - mix.predicted_share - mix.verified_share
    shares = (mix.predicted_share, explained_share, mix.verified_share)
    calls = []
    for at_seconds in arrivals:
        num_texts = int(generator.integers(1, mix.max_texts + 1))
        texts = [draw_text(generator) for _ in range(num_texts)]
        wish = _WISHES[int(generator.choice(3, p=shares))]
        is_cancelled = generator.random() < mix.cancelled_share
        leaves = float(generator.uniform(0, mix.cancel_within_seconds))
        calls.append(
            PlannedCall(
                at_seconds=at_seconds,
                message=target.write(texts, wish),
                num_texts=num_texts,
                timeout_seconds=mix.timeout_seconds,
                cancel_after_seconds=leaves if is_cancelled else None,
            )
        )
    return tuple(calls)
