"""How fits with nothing but the defaults end."""

from collections.abc import Mapping
from typing import Any

from diffmask_training.experiments.report.cells import table, trials
from diffmask_training.experiments.results import Results

_LOWEST_KEPT, _HIGHEST_KEPT = 0.02, 0.90
_TARGET = 0.95  # 19 of 20
_FEWEST_FITS = 20


def convergence_section(results: Results, *, tried: list[Results]) -> str:
    """Return the section in Markdown.

    Args:
        results: Of fits with the defaults.
        tried: The same under other settings.
    """
    sound = _num_sound(results)
    verdict = _verdict(sound, num_fits=len(results.units))
    return "\n".join(
        [
            "## Fits with the default settings",
            "",
            "A fit is sound when it is feasible, has not collapsed, and keeps between"
            f" {_LOWEST_KEPT:.0%} and {_HIGHEST_KEPT:.0%} of the tokens at middle"
            f" depth. Sound: {sound} of {len(results.units)} fits (target: 19 of 20,"
            f" {verdict}). `bert` is a pretrained model; the others are small and were"
            " trained from scratch.",
            "",
            table(
                [
                    "fit",
                    "accuracy",
                    "feasible",
                    "kept at middle depth",
                    "kept, all states",
                    "predictions kept",
                    "divergence, nats",
                    "minutes",
                    "",
                ],
                [_row(name, unit) for name, unit in results.units.items()],
            ),
            "",
            trials(results, tried, _describe),
        ]
    )


def _num_sound(results: Results) -> int:
    return sum(_is_sound(unit) for unit in results.units.values())


def _describe(results: Results) -> str:
    return f"sound: {_num_sound(results)} of {len(results.units)} fits"


def _verdict(sound: int, *, num_fits: int) -> str:
    if num_fits < _FEWEST_FITS:
        return f"undecided, with {num_fits} fits"
    return "met" if sound / num_fits >= _TARGET else "**missed**"


def _is_sound(unit: Mapping[str, Any]) -> bool:
    is_moderate = _LOWEST_KEPT <= unit["middle_kept_share"] <= _HIGHEST_KEPT
    return unit["is_feasible"] and not unit["is_collapsed"] and is_moderate


def _row(name: str, unit: Mapping[str, Any]) -> list[str]:
    return [
        name,
        f"{unit['accuracy']:.3f}",
        "yes" if unit["is_feasible"] else "no",
        f"{unit['middle_kept_share']:.1%}",
        f"{unit['kept_share']:.1%}",
        f"{unit['agreement']:.1%}",
        f"{unit['divergence']:.3f}",
        f"{unit['fit_seconds'] / 60:.1f}",
        "sound" if _is_sound(unit) else "**not sound**",
    ]
