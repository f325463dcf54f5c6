"""Section 3.2 of the paper and its figures 4 to 6."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from diffmask_training.errors import DataError
from diffmask_training.experiments.report.cells import (
    Target,
    mean_cell,
    share_cell,
    table,
    target_cell,
    verdict_cell,
)
from diffmask_training.experiments.results import Interval, Results, interval

_KINDS = {"input": "input gates", "hidden": "hidden gates"}
_MEASURES = {
    "f1_before": "macro F1, unmasked",
    "f1_masked": "macro F1, masked",
    "f1_change": "macro F1, masked less unmasked, points",
    "batch_f1_before": "F1 averaged over batches, unmasked",
    "batch_f1_masked": "F1 averaged over batches, masked",
    "masked_share": "share masked",
    "agreement": "predictions kept",
}
_PAPER: Mapping[str, Mapping[str, str]] = {
    "input": {
        "batch_f1_before": "37.9",
        "batch_f1_masked": "38.3",
        "masked_share": "46.3",
    },
    "hidden": {
        "batch_f1_before": "37.9",
        "batch_f1_masked": "38.9",
        "masked_share": "67.6",
    },
}


def _targets(*, masked_share: float, agreement: float) -> Mapping[str, Target]:
    return {
        "f1_change": Target(lowest=-0.01),
        "masked_share": Target(lowest=masked_share),
        "agreement": Target(lowest=agreement),
    }


# Of five close classes and of two; the shares masked of five are the paper's.
_TARGETS: Mapping[int, Mapping[str, Mapping[str, Target]]] = {
    5: {
        "input": _targets(masked_share=0.463, agreement=0.8),
        "hidden": _targets(masked_share=0.676, agreement=0.8),
    },
    2: {
        "input": _targets(masked_share=0.6, agreement=0.94),
        "hidden": _targets(masked_share=0.7, agreement=0.94),
    },
}
_SPREADS = {
    "input": ("0.05", Target(highest=0.05)),
    "hidden": ("0.03", Target(highest=0.03)),
}
_FIRST_TOKEN = Target(lowest=0.99)
_SENTIMENTS = ("very negative", "negative", "neutral", "positive", "very positive")
# Figures 4 and 5 for hidden gates, read off the authors' notebook: number of states, of
# 14. The tagger's tags have other names for some of theirs.
_PAPER_STATES = 14
_PAPER_GROUPS: Mapping[str, Mapping[str, float]] = {
    "by_sentiment": {"0": 8.6, "1": 7.0, "2": 5.3, "3": 7.3, "4": 9.0},
    "by_part_of_speech": {
        "[SEP]": 13.1,
        "[CLS]": 9.0,
        "ADJ": 7.9,
        "ADV": 7.8,
        "VERB": 6.9,
        "NOUN": 6.7,
        "NUM": 5.6,
        "ADP": 4.8,
        "CONJ": 4.6,
        "X": 4.2,
        ".": 4.2,
        "PRON": 4.2,
        "PRT": 3.0,
        "DET": 2.1,
    },
}
_COLOURS = {"input": "#0072B2", "hidden": "#D55E00"}


def sentiment_section(results: Results, *, name: str) -> str:
    """Return the section in Markdown.

    Args:
        results: Of one classifier.
        name: Of its pictures' files, without figure number and suffix.
    """
    settings = results.settings
    num_sentences = _units(results, "input")[0]["num_sentences"]
    is_as_papers = _has_papers_labels(results)
    crosses = ", crosses read off the authors' notebook" if is_as_papers else ""
    pictures = {
        "figure-4": "Figure 4: expected share of the states that keep a token, by the"
        " sentiment of its word; bars the mean over tokens and seeds, lines the"
        f" standard deviation over tokens{crosses}.",
        "figure-5": "Figure 5: the same by part of speech (NLTK's tagger with universal"
        " tags; the paper's is spaCy's).",
        "figure-6": "Figure 6: keep probabilities of one sentence, means over seeds.",
    }
    if not has_parts_of_speech(results):
        del pictures["figure-5"]
    return "\n".join(
        [
            f"## Sentiment: {name}, {len(settings['labels'])} classes,"
            f" {len(settings['states'])} states",
            "",
            f"On {num_sentences} development sentences of the treebank, under the"
            " hard mask of every state in turn, means over states; then mean over"
            " seeds [95 % interval], in per cent. Special tokens count and can be"
            " masked. The paper's F1 is the one averaged over batches of 64"
            f"{'.' if is_as_papers else '; all its figures are of five classes.'}",
            "",
            table(
                ["gates", "measure, %", "ours", "paper", "target", ""],
                [
                    _row(results, kind, measure)
                    for kind in _KINDS
                    for measure in _MEASURES
                ],
            ),
            "",
            table(
                ["gates", "measure", "ours", "paper", "target", ""],
                [*(_spread_row(results, kind) for kind in _KINDS), _first(results)],
            ),
            "",
            *(
                line
                for figure, caption in pictures.items()
                for line in (f"![{figure}]({figure}-{name}.svg)", "", caption, "")
            ),
        ]
    )


def has_parts_of_speech(results: Results) -> bool:
    """Return whether parts of speech were found, which needs the tagger's data."""
    return all(
        unit["by_part_of_speech"] is not None
        for kind in _KINDS
        for unit in _units(results, kind)
    )


def draw_groups(results: Results, field: str) -> Figure:
    """Return figure 4 or 5.

    Args:
        results: Of one classifier.
        field: `by_sentiment` or `by_part_of_speech`.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, len(_KINDS), sharey=True, squeeze=False)[0]
    for panel, (kind, title) in zip(axes, _KINDS.items(), strict=True):
        runs = [unit[field] for unit in _units(results, kind)]
        mean_by_name = {
            name: _over(runs, name, "mean")
            for name in sorted({name for run in runs for name in run})
        }
        names = list(mean_by_name)
        if field == "by_part_of_speech":
            names.sort(key=mean_by_name.__getitem__, reverse=True)
        positions = range(len(names))
        panel.bar(
            positions,
            [mean_by_name[name] for name in names],
            yerr=[_over(runs, name, "std") for name in names],
            color=_COLOURS[kind],
            capsize=2,
        )
        if kind == "hidden" and _has_papers_labels(results):
            paper = [_PAPER_GROUPS[field].get(name, np.nan) for name in names]
            panel.plot(positions, np.array(paper) / _PAPER_STATES, "kx")
        panel.set_xticks(
            positions,
            [_SENTIMENTS[int(n)] if n.isdigit() else n for n in names],
            rotation=60,
        )
        panel.set_title(title, fontsize=10)
        panel.set_ylabel("share of states that keep it")
    return figure


def draw_example(results: Results) -> Figure:
    """Return figure 6."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots(1, len(_KINDS), sharey=True, squeeze=False)[0]
    states = results.settings["states"]
    for panel, (kind, title) in zip(axes, _KINDS.items(), strict=True):
        examples = [unit["example"] for unit in _units(results, kind)]
        mean = np.mean([example["keep_probability"] for example in examples], axis=0)
        # A keep probability means the same everywhere, so no column is rescaled.
        image = panel.imshow(
            mean, vmin=0, vmax=1, cmap="cividis", aspect="auto", origin="lower"
        )
        tokens = examples[0]["tokens"]
        panel.set_xticks(range(len(tokens)), tokens, rotation=60)
        panel.set_yticks(range(len(states)), states)
        panel.set_title(title, fontsize=10)
        figure.colorbar(image, ax=panel, shrink=0.8)
    return figure


def _has_papers_labels(results: Results) -> bool:
    return len(results.settings["labels"]) == len(_SENTIMENTS)


def _units(results: Results, kind: str) -> list[dict[str, Any]]:
    found = [unit for unit in results.units.values() if unit.get("kind") == kind]
    if not found:
        raise _unfinished(results, f"{kind}-0")
    return found


def _unfinished(results: Results, unit: str) -> DataError:
    return DataError(
        f"{results.experiment!r} is not finished: {unit} is missing; run the experiment"
        " again, which goes on where it stopped"
    )


def _over(runs: Sequence[Mapping[str, Any]], name: str, field: str) -> float:
    return float(np.mean([run[name][field] for run in runs if name in run]))


def _interval(results: Results, kind: str, *keys: str) -> Interval:
    values = []
    for unit in _units(results, kind):
        value: Any = unit
        for key in keys:
            value = value[key]
        values.append(float(value))
    return interval(values)


def _row(results: Results, kind: str, measure: str) -> list[str]:
    num_labels = len(results.settings["labels"])
    target = _TARGETS.get(num_labels, {}).get(kind, {}).get(measure)
    paper = _PAPER[kind].get(measure, "") if _has_papers_labels(results) else ""
    if measure == "f1_change":
        found = _f1_change(results, kind)
        cell = mean_cell(found, digits=1, scale=100)
    else:
        found = _interval(results, kind, "faithfulness", measure)
        cell = share_cell(found, digits=1)
    return [
        _KINDS[kind],
        _MEASURES[measure],
        cell,
        paper,
        target_cell(target, digits=1, scale=100),
        verdict_cell(found, target),
    ]


def _f1_change(results: Results, kind: str) -> Interval:
    runs = [unit["faithfulness"] for unit in _units(results, kind)]
    return interval([run["f1_masked"] - run["f1_before"] for run in runs])


def _spread_row(results: Results, kind: str) -> list[str]:
    name = f"{kind}-stability"
    if name not in results.units:
        raise _unfinished(results, name)
    unit = results.units[name]
    paper, target = _SPREADS[kind]
    spread = unit["seed_spread"]
    return [
        _KINDS[kind],
        f"standard deviation of a gate over {unit['num_runs']} seeds",
        f"{spread:.3f}",
        paper,
        target_cell(target, digits=2),
        "met" if target.is_met(spread) else "**missed**",
    ]


def _first(results: Results) -> list[str]:
    found = _interval(results, "hidden", "first_token_share")
    return [
        _KINDS["hidden"],
        "sentences with no surer token than the first at the last state, %",
        share_cell(found, digits=1),
        "99",
        target_cell(_FIRST_TOKEN, digits=0, scale=100),
        verdict_cell(found, _FIRST_TOKEN),
    ]
