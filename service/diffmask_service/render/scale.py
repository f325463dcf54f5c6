"""How a value in [0, 1] looks: as a number, a shade or a colour; how a state is called.

The scale starts at 0 and is the same for every state, since an expected gate value
means something by itself. Its one hue grows lighter all the way, so it reads the same
with any kind of colour vision.
"""

import re
from collections.abc import Sequence
from itertools import groupby

_STOPS = ((0.0, (24, 32, 46)), (0.5, (47, 109, 176)), (1.0, (191, 227, 255)))
_SHADES = ((0.75, "█", "#"), (0.5, "▓", "+"), (0.25, "▒", "-"), (0.05, "░", "."))
# Where black and white ink stand out equally well, 4.6 to 1.
_CROSSING = 0.179
_SHORT_NAMES = {"word_embeddings": "word", "embeddings": "emb"}


def number(value: float) -> str:
    """Return a value in three characters: `.73`, or `1.0` for all that rounds to it.

    Args:
        value: In [0, 1].
    """
    text = f"{value:.2f}"
    return "1.0" if text == "1.00" else text[1:]


def shade(value: float, *, ascii_only: bool) -> str:
    """Return one character whose blackness grows with a value in [0, 1]."""
    for lower, block, plain in _SHADES:
        if value >= lower:
            return plain if ascii_only else block
    return " "


def style(value: float) -> str:
    """Return the terminal style of a cell, for a value in [0, 1]."""
    red, green, blue = colour(value)
    ink = "#000000" if _luminance(red, green, blue) > _CROSSING else "#ffffff"
    return f"{ink} on #{red:02x}{green:02x}{blue:02x}"


def colour(value: float) -> tuple[int, int, int]:
    """Return the red, green and blue, 0 to 255, of a value in [0, 1]."""
    (low, start), (high, end) = _STOPS[:2] if value < _STOPS[1][0] else _STOPS[1:]
    share = min(1.0, max(0.0, (value - low) / (high - low)))
    red, green, blue = (
        round(a + share * (b - a)) for a, b in zip(start, end, strict=True)
    )
    return red, green, blue


def short_names(states: Sequence[str]) -> tuple[str, ...]:
    """Return a name of at most four characters for each state, all different."""
    names = tuple(map(_short_name, states))
    if len(set(names)) == len(names) and all(len(name) <= 4 for name in names):
        return names
    return tuple(map(str, range(len(states))))


def key(states: Sequence[str], names: Sequence[str]) -> str:
    """Return the line that explains short names; numbered states are drawn together.

    Args:
        states: Names of the states.
        names: The short name of each.
    """
    pairs = [pair for pair in zip(states, names, strict=True) if pair[0] != pair[1]]
    parts = []
    for _, group in groupby(pairs, key=lambda pair: re.sub(r"\d+$", "", pair[0])):
        (state, name), *rest = group
        if rest:
            state, name = f"{state} to {rest[-1][0]}", f"{name}-{rest[-1][1]}"
        parts.append(f"{name} = {state}")
    return ", ".join(parts)


def _short_name(state: str) -> str:
    numbered = re.fullmatch(r"(\w).*?(\d+)", state)
    if numbered:
        return numbered[1] + numbered[2]
    return _SHORT_NAMES.get(state, state)


def _luminance(*channels: int) -> float:
    # Source: Web Content Accessibility Guidelines 2.2, "relative luminance".
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (channel / 255 for channel in channels)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
