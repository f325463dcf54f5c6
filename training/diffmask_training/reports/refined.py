"""Refined texts in a terminal, and as JSON."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from diffmask_training.amortisation import (
    AmortisationGap,
    RefinedText,
    amortisation_gap,
)
from diffmask_training.refinement import JudgedMask, RefinementSettings

SCHEMA = 1


def refined_json(texts: Sequence[RefinedText], settings: RefinementSettings) -> str:
    """Return refined texts as JSON, with the number of its schema."""
    content = {
        "schema": SCHEMA,
        "margin": settings.margin,
        "baseline": settings.baseline,
        "seed": settings.seed,
        "texts": [_described(text) for text in texts],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def print_refined(
    console: Console, texts: Sequence[RefinedText], settings: RefinementSettings
) -> None:
    """Print the masks of every text, and the gap over all of them."""
    for text in texts:
        console.print(_heading(text))
        console.print(_masks_table(text, settings.margin))
    refined = [text for text in texts if text.refined is not None]
    console.print(f"{len(refined)} of {len(texts)} texts refined", highlight=False)
    if len(refined) > 1:
        gaps = amortisation_gap(refined, margin=settings.margin, seed=settings.seed)
        console.print(_gap_table(gaps))


def _described(text: RefinedText) -> dict[str, Any]:
    return {
        "tokens": list(text.text.tokens),
        "label_index": text.text.label,
        "amortised": [_described_mask(mask) for mask in text.amortised],
        "refined": None
        if text.refined is None
        else [
            {
                **_described_mask(mask),
                "keep_probability": mask.keep_probability.tolist(),
                "multiplier": mask.multiplier,
            }
            for mask in text.refined
        ],
    }


def _described_mask(mask: JudgedMask) -> dict[str, Any]:
    return {
        "state": mask.state,
        "keep": mask.keep.tolist(),
        "kept_share": mask.kept_share,
        "divergence": mask.divergence,
        "is_agreeing": mask.is_agreeing,
    }


def _heading(text: RefinedText) -> Text:
    """Return the text; what the last refined mask drops is dim."""
    shown = (text.refined or text.amortised)[-1]
    heading = Text()
    for token, is_kept in zip(text.text.tokens, shown.keep, strict=True):
        heading.append(f"{token} ", style="bold" if is_kept else "dim")
    return heading


def _masks_table(text: RefinedText, margin: float) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("masked", "by", "kept", "divergence", "prediction", "kept tokens"):
        table.add_column(column)
    rows: list[tuple[str, JudgedMask]] = [("probe", mask) for mask in text.amortised]
    rows += [("refined", mask) for mask in text.refined or ()]
    for by, mask in rows:
        kept = [
            token
            for token, is_kept in zip(text.text.tokens, mask.keep, strict=True)
            if is_kept
        ]
        table.add_row(
            mask.state,
            by,
            f"{mask.kept_share:.0%}",
            Text(
                f"{mask.divergence:.3f}",
                style="yellow" if mask.divergence > margin else "",
            ),
            "holds" if mask.is_agreeing else "changes",
            # A token in brackets is no markup.
            Text(" ".join(kept)),
        )
    return table


def _gap_table(gaps: Sequence[AmortisationGap]) -> Table:
    title = "amortisation gap: refined (probe's), means over refined texts"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("masked", "kept", "divergence", "predictions kept", "over margin"):
        table.add_column(column)
    for gap in gaps:
        shares = [
            f"{each.score.mean:.1%} ({each.control.mean:.1%})"
            for each in (gap.kept_share, gap.agreement, gap.violation_rate)
        ]
        nats = f"{gap.divergence.score.mean:.3f} ({gap.divergence.control.mean:.3f})"
        table.add_row(gap.state, shares[0], nats, *shares[1:])
    return table
