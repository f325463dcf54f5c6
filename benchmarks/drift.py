"""Whether drift keeps silent over a week of unshifted texts, and sees shifted ones.

Runs a bundle on real texts once, and then resamples what it saw, text by text, through
the very code that watches a server. Each of the rounds halves the texts at random: one
half is the reference, the other what comes live, so that a reference is what it is in
a manifest, a sample. A week is as many chunks as a server fills at the given rate. The
shifted texts, if any, then take the place of the live ones.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffmask_service.bundle import count_texts, gate_figures, read_bundle
from diffmask_service.core.drift import BIN_EDGES, FIGURES, bin_index
from diffmask_service.core.values import TextInput
from diffmask_service.engine.loading import load
from diffmask_service.engine.session import Row
from diffmask_service.telemetry.drift import CHUNK_TEXTS, WINDOW_CHUNKS, Window

_WEEK_SECONDS = 7 * 24 * 3600
_FETCHES = ("logits", "input_gates", "hidden_gates")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Texts of one label, as drift sees them.

    Attributes:
        figures: `[texts, figures, layers]` float64, for each kind of gate.
    """

    figures: tuple[NDArray[np.float64], NDArray[np.float64]]


def main() -> None:
    """Run, resample and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True, help="One text a line.")
    parser.add_argument("--shifted", type=Path, help="Others, one a line.")
    parser.add_argument("--rounds", type=int, default=10, help="Weeks. [%(default)s]")
    parser.add_argument(
        "--rate", type=float, default=2.0, help="Texts/s. [%(default)s]"
    )
    parser.add_argument("--most", type=int, default=2000, help="Texts. [%(default)s]")
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    seen = _run(arguments.bundle, arguments.texts, most=arguments.most)
    shifted = None
    if arguments.shifted:
        shifted = _run(arguments.bundle, arguments.shifted, most=arguments.most)
    num_chunks = round(arguments.rate * _WEEK_SECONDS / CHUNK_TEXTS / len(seen))
    print(f"{num_chunks} chunks of {CHUNK_TEXTS} texts a week and label")
    largest: list[float] = []
    delays: list[int | None] = []
    for _ in range(arguments.rounds):
        for label, texts in seen.items():
            week = _Week(texts, generator)
            largest.append(week.largest(num_chunks))
            if shifted is not None and label in shifted:
                delays.append(week.texts_until_seen(shifted[label]))
    print(f"largest ratio of any week: {max(largest):.2f}; above 1 is an alarm")
    print(f"weeks with an alarm: {sum(x > 1 for x in largest)} of {len(largest)}")
    if delays:
        missed = sum(delay is None for delay in delays)
        found = [delay for delay in delays if delay is not None]
        print(f"shift missed in {missed} of {len(delays)} rounds")
        print(f"texts of a label until it is seen: at most {max(found, default=0)}")


class _Week:
    # One label, with a reference of its own.
    def __init__(self, texts: Seen, generator: np.random.Generator) -> None:
        self._generator = generator
        order = generator.permutation(len(texts.figures[0]))
        half = len(order) // 2
        self._live = [_bins(kind[order[half:]]) for kind in texts.figures]
        self._windows = []
        for kind in texts.figures:
            counted = count_texts(kind[order[:half]], [0] * half, num_labels=1)
            counts = np.array([getattr(counted, name)[0] for name in FIGURES])
            self._windows.append(Window(counts, num_kinds=2))

    def largest(self, num_chunks: int) -> float:
        """Let a week pass, and return the largest ratio that was shown."""
        return max(self._pass(self._live) for _ in range(num_chunks))

    def texts_until_seen(self, shifted: Seen) -> int | None:
        """Return after how many shifted texts of the label an alarm stands."""
        live = [_bins(kind) for kind in shifted.figures]
        for chunk in range(1, WINDOW_CHUNKS + 1):
            if self._pass(live) > 1:
                return chunk * CHUNK_TEXTS
        return None

    def _pass(self, live: Sequence[NDArray[np.intp]]) -> float:
        largest = 0.0
        for window, bins in zip(self._windows, live, strict=True):
            drawn = bins[self._generator.integers(len(bins), size=CHUNK_TEXTS)]
            window.add_chunk(_count(drawn))
            largest = max(largest, float(window.ratios().max()))
        return largest


def _bins(figures: NDArray[np.float64]) -> NDArray[np.intp]:
    return bin_index(figures, np.array(BIN_EDGES))


def _count(bins: NDArray[np.intp]) -> NDArray[np.int64]:
    every = np.arange(len(BIN_EDGES) + 1)
    return (bins[..., np.newaxis] == every).sum(axis=0)


def _run(bundle: Path, path: Path, *, most: int) -> dict[int, Seen]:
    loaded = load(read_bundle(bundle), precision=None)
    threshold = loaded.description.hard_mask_threshold
    kinds: dict[int, tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]] = {}
    texts = [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    for text in texts[:most]:
        tokens = loaded.tokenizer.tokenize(
            TextInput(text=text), truncate=True, where="a text"
        )
        row = Row(input_ids=tokens.input_ids, token_type_ids=tokens.token_type_ids)
        outputs = loaded.session.run([row], fetches=_FETCHES)
        pair = kinds.setdefault(int(outputs.logits[0].argmax()), ([], []))
        for seen, gates in zip(
            pair, (outputs.input_gates, outputs.hidden_gates), strict=True
        ):
            if gates is None:
                raise AssertionError("all gates were asked for")
            seen.append(gate_figures(gates[0], threshold=threshold))
    sizes = (f"{len(pair[0])} of label {k}" for k, pair in sorted(kinds.items()))
    print(f"texts of {path.name}: {', '.join(sizes)}")
    return {
        label: Seen(figures=(np.stack(pair[0]), np.stack(pair[1])))
        for label, pair in kinds.items()
    }


if __name__ == "__main__":
    main()
