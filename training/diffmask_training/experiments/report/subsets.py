"""Table 2: learned masks beside exact search."""

from collections.abc import Mapping

import numpy as np

from diffmask_training.experiments.report.cells import (
    Target,
    interval_over_units,
    mean_cell,
    over_units,
    table,
    target_cell,
    trials,
    verdict_cell,
)
from diffmask_training.experiments.results import Results

_METHODS = {
    "diffmask": "DiffMask, ours",
    "reinforce": "REINFORCE, score term times the multiplier",
    "reinforce_published": "REINFORCE, score term as published",
}
_MEASURES = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "optimality": "optimality",
    "kept_share": "L0",
}
_PAPER: Mapping[str, Mapping[str, str]] = {
    "diffmask": {
        "precision": "81.26",
        "recall": "85.89",
        "f1": "80.75",
        "optimality": "32.67",
        "kept_share": "30.58",
    },
    "reinforce_published": {
        "precision": "74.69",
        "recall": "80.82",
        "f1": "73.57",
        "optimality": "8.83",
        "kept_share": "33.13",
    },
}
_TARGETS = {
    "f1": Target(lowest=0.85),
    "optimality": Target(lowest=0.45),
    "kept_share": Target(highest=0.31),
}
_ASKED = {
    "prediction": "keep the predicted label",
    "divergence": "stay within the margin of the plain prediction",
}


def subsets_section(results: Results, *, tried: list[Results]) -> str:
    """Return the section in Markdown.

    Args:
        results: Of one requirement.
        tried: The same under other settings.
    """
    asked = results.settings["requirement"]
    return "\n".join(
        [
            f"## Table 2: masks for single texts that must {_ASKED[asked]}",
            "",
            _search_paragraph(results),
            "",
            table(
                ["method", "measure, %", "ours", "paper", "target", ""],
                [
                    _row(results, method, measure, is_main=asked == "prediction")
                    for method in _METHODS
                    for measure in _MEASURES
                ],
            ),
            "",
            "Means over seeds [95 % interval]. Precision, recall and F1 of a mask are"
            " those against the smallest subset that it is nearest to; a mask that"
            " keeps no word has precision 1, and where no word is needed recall is 1."
            " A mask is optimal when it does what is asked for with as few words as"
            " the smallest subset. All three methods have the same steps, restarts,"
            " optimiser and choice of the reported mask. The paper does not say which"
            " requirement its search had; its figures stand beside both.",
            "",
            trials(results, tried, _describe),
        ]
    )


def _search_paragraph(results: Results) -> str:
    share = interval_over_units(results, "search.mean_share")
    unique = interval_over_units(results, "search.share_unique")
    accuracy = interval_over_units(results, "accuracy")
    texts, unresolved, sentences = (
        over_units(results, path)
        for path in ("search.num_texts", "search.num_unresolved", "num_sentences")
    )
    settings = results.settings
    return (
        f"A GRU of width {settings['width']} with word vectors of its own (the paper's"
        " reads frozen pretrained ones and is the stronger classifier; no accuracy of"
        f" it is given) classifies {mean_cell(accuracy, digits=1, scale=100)} % of the"
        f" {sentences[0]:.0f} development sentences of SST-5 rightly. Explained are the"
        f" {texts[0]:.0f} with at most {settings['max_words']} words"
        f"{_text_limit(settings['max_texts'])}. Exact search ran all"
        " subsets by growing size until one did, and never a size with more than"
        f" {settings['max_subsets']:,} subsets: this left"
        f" {np.sum([u or 0 for u in unresolved]):.0f} of"
        f" {np.sum([t or 0 for t in texts]):.0f} searches without an answer, which"
        " count as missed in optimality and are left out of precision, recall and F1."
        " The smallest subsets hold"
        f" {mean_cell(share, digits=1, scale=100)} % of the words and are the only"
        f" ones of their size in {mean_cell(unique, digits=1, scale=100)} % of the"
        " texts."
    )


def _text_limit(max_texts: int) -> str:
    return f" (the first {max_texts})" if max_texts else ""


def _row(results: Results, method: str, measure: str, *, is_main: bool) -> list[str]:
    found = interval_over_units(results, f"methods.{method}.{measure}")
    is_aimed_at = is_main and method == "diffmask"
    target = _TARGETS.get(measure) if is_aimed_at else None
    return [
        _METHODS[method],
        _MEASURES[measure],
        mean_cell(found, digits=2, scale=100),
        _PAPER.get(method, {}).get(measure, ""),
        target_cell(target, digits=0, scale=100),
        verdict_cell(found, target),
    ]


def _describe(results: Results) -> str:
    found = {
        name: 100 * np.mean([v for v in over_units(results, path) if v is not None])
        for name, path in (
            ("F1", "methods.diffmask.f1"),
            ("optimality", "methods.diffmask.optimality"),
            ("L0", "methods.diffmask.kept_share"),
        )
    }
    return ", ".join(f"{name} {value:.2f}" for name, value in found.items())
