"""Words of a command line to values; what several commands share."""

import argparse
import math
from collections.abc import Callable

DEFAULT_SERVER = "127.0.0.1:8081"


def seconds(text: str) -> float:
    """Parse a time, seconds, > 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return value


def count(text: str) -> int:
    """Parse a whole number, at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def names(text: str) -> tuple[str, ...]:
    """Parse names with commas between them, each of them once."""
    values = tuple(part.strip() for part in text.split(","))
    if "" in values or len(set(values)) < len(values):
        raise argparse.ArgumentTypeError(
            f"{text!r} should be different names with commas between them"
        )
    return values


def choices(*allowed: str) -> Callable[[str], tuple[str, ...]]:
    """Return a parser of names that are all among a few."""

    def parse(text: str) -> tuple[str, ...]:
        values = names(text)
        for value in values:
            if value not in allowed:
                raise argparse.ArgumentTypeError(
                    f"{value!r} is not one of {', '.join(allowed)}"
                )
        return values

    return parse
