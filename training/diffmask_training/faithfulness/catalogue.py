"""The figures by name: what each is called, and which way is better."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One figure.

    Attributes:
        title: As a table calls it.
        is_higher_better: Which way a good explanation goes.
        meaning: One sentence.
        low: Lower end of its range, for a picture of it.
        high: Upper end of its range.
    """

    title: str
    is_higher_better: bool
    meaning: str
    low: float = 0.0
    high: float = 1.0


CATALOGUE: Mapping[str, Entry] = {
    "comprehensiveness": Entry(
        title="comprehensiveness (AOPC)",
        is_higher_better=True,
        low=-1.0,
        meaning="probability lost without the top 1, 5, 10, 20 and 50 % of the words",
    ),
    "comprehensiveness_deciles": Entry(
        title="comprehensiveness (AOPC, deciles)",
        is_higher_better=True,
        low=-1.0,
        meaning="the same over the top 10, 20 ... 100 %",
    ),
    "comprehensiveness_top": Entry(
        title="comprehensiveness at 20 %",
        is_higher_better=True,
        low=-1.0,
        meaning="probability lost without the top fifth of the words",
    ),
    "sufficiency": Entry(
        title="sufficiency (AOPC)",
        is_higher_better=False,
        low=-1.0,
        meaning="probability lost with nothing but the top words, over the same shares",
    ),
    "sufficiency_deciles": Entry(
        title="sufficiency (AOPC, deciles)",
        is_higher_better=False,
        low=-1.0,
        meaning="the same over the top 10, 20 ... 100 %",
    ),
    "sufficiency_top": Entry(
        title="sufficiency at 20 %",
        is_higher_better=False,
        low=-1.0,
        meaning="probability lost with nothing but the top fifth of the words",
    ),
    "normalised_comprehensiveness": Entry(
        title="normalised comprehensiveness at 20 %",
        is_higher_better=True,
        meaning="as a share of what all words together are worth",
    ),
    "normalised_sufficiency": Entry(
        title="normalised sufficiency at 20 %",
        is_higher_better=True,
        meaning="how much of that worth the top fifth holds by itself",
    ),
    "log_odds": Entry(
        title="log-odds at 20 %, nats",
        is_higher_better=False,
        low=-4.0,
        meaning="change of the log probability without the top fifth",
    ),
    "flipped_top": Entry(
        title="decision flipped at 20 %",
        is_higher_better=True,
        meaning="share of texts whose label changes without the top fifth",
    ),
    "share_to_flip": Entry(
        title="share of words to a flip",
        is_higher_better=False,
        meaning="of the texts whose label changes at all, by explanation and by chance",
    ),
    "tau_loo": Entry(
        title="Kendall's tau with leave-one-out",
        is_higher_better=True,
        low=-1.0,
        meaning="whether the order is that of what each single word costs",
    ),
    "racu": Entry(
        title="RACU",
        is_higher_better=True,
        low=-1.0,
        meaning="area between the masking curve and that of random orders, relative",
    ),
    "naopc_comprehensiveness": Entry(
        title="NAOPC, comprehensiveness",
        is_higher_better=True,
        meaning="between the worst and the best of all orders; short texts only",
    ),
    "naopc_sufficiency": Entry(
        title="NAOPC, sufficiency",
        is_higher_better=False,
        meaning="the same with the lowest words removed first; short texts only",
    ),
    "soft_comprehensiveness": Entry(
        title="soft normalised comprehensiveness",
        is_higher_better=True,
        meaning="coordinates of embeddings zeroed in proportion to the scores",
    ),
    "soft_sufficiency": Entry(
        title="soft normalised sufficiency",
        is_higher_better=True,
        meaning="coordinates kept in proportion to the scores",
    ),
}
