"""Whether drift keeps silent over weeks of unshifted texts, and sees shifted ones.

Runs a bundle on real texts once, and then draws from what it saw, text by text, through
the very windows that watch a server, for as many weeks as there are rounds; then texts
of another kind come. The reference is the manifest's own, or with `--halve` a random
half of the texts, another one in each round, of which the other half is drawn from.
promtool evaluates the alert of deploy/prometheus/rules.yml over the gauges, minute by
minute. For the bundle that ships, with reviews as its texts and news as the others:

    python -m benchmarks.drift --bundle BUNDLE --data DIR --to benchmarks/results
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drifting.data import news, reviews
from benchmarks.drifting.rule import complaint_of_rule, drift_rule
from benchmarks.drifting.texts import look, reference_counts
from benchmarks.drifting.watch import Watch, halves, watch_course
from benchmarks.results import add_result_flag, store, table
from diffmask_service.bundle import read_bundle

_MINUTES_PER_WEEK = 7 * 24 * 60
# A shift must be seen within so many requests of one text.
_NUM_SHIFTED = 1000


def main() -> None:
    """Run, draw, evaluate and print; fail if a promise is broken."""
    arguments = _parse()
    generator = np.random.default_rng(0)
    manifest = read_bundle(arguments.bundle).manifest
    texts, shifted = (
        look(arguments.bundle, found[: arguments.most])
        for found in (
            _lines(arguments.texts) if arguments.texts else reviews(arguments.data),
            _lines(arguments.shifted) if arguments.shifted else news(arguments.data),
        )
    )
    courses, complaints = [], []
    for _ in range(arguments.rounds):
        counts, live = reference_counts(manifest), texts
        if arguments.halve:
            past, live = halves(texts, generator)
            counts = past.count(num_labels=len(manifest.labels))
        course = watch_course(
            Watch(counts),
            live,
            shifted,
            minutes=_MINUTES_PER_WEEK,
            per_minute=arguments.per_minute,
            num_shifted=_NUM_SHIFTED,
            generator=generator,
        )
        courses.append(course)
        complaints.append(complaint_of_rule(course, drift_rule()))
    seen = [course.texts_until_seen for course in courses]
    figures = {
        "texts": len(texts),
        "shifted texts": len(shifted),
        "weeks": len(courses),
        "texts a week": _MINUTES_PER_WEEK * arguments.per_minute,
        "largest ratio of a week": max(course.largest_before for course in courses),
        "shifts missed": sum(number is None for number in seen),
        "most texts until a shift is seen": max((x for x in seen if x), default=0),
        "weeks that the rule misjudges": sum(map(bool, complaints)),
    }
    print("\n".join([*describe(figures), *complaints]))
    store("drift", figures, arguments=arguments)
    sys.exit(1 if broken_promises(figures) else 0)


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    rows = [[name, value] for name, value in figures.items()]
    return [*table(["what", "figure"], rows), "", *broken_promises(figures)]


def broken_promises(figures: Mapping[str, Any]) -> Sequence[str]:
    """Return a line for each count that must be zero and is not."""
    return [
        f"- {name} must be 0, not {figures[name]}"
        for name in ("shifts missed", "weeks that the rule misjudges")
        if figures[name]
    ]


def _lines(path: Path) -> Sequence[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data"),
        help="folder of published texts, see drifting/data.py [%(default)s]",
    )
    parser.add_argument("--texts", type=Path, help="one a line [reviews of the data]")
    parser.add_argument(
        "--shifted", type=Path, help="of another kind, one a line [news of the data]"
    )
    parser.add_argument("--halve", action="store_true", help="see above")
    parser.add_argument("--rounds", type=int, default=4, help="weeks [%(default)s]")
    parser.add_argument(
        "--per-minute", type=int, default=120, help="texts [%(default)s]"
    )
    parser.add_argument(
        "--most", type=int, default=4000, help="texts of a file [%(default)s]"
    )
    add_result_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
