"""Table 2, one seed at a time: a classifier, all smallest subsets, learned masks."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffmask_training.experiments.results import one_thread, run_units
from diffmask_training.experiments.subsets.classifier import (
    GruClassifier,
    accuracy,
    train,
)
from diffmask_training.experiments.subsets.gates import (
    Estimator,
    LearnedMasks,
    MaskSettings,
    Relaxed,
    ScoreFunction,
    learn_masks,
)
from diffmask_training.experiments.subsets.problem import (
    Problem,
    Requirement,
    make_problem,
)
from diffmask_training.experiments.subsets.scores import score_mask
from diffmask_training.experiments.subsets.search import Minimum, minimum_subsets
from diffmask_training.experiments.subsets.texts import (
    Texts,
    make_texts,
    make_vocabulary,
)
from diffmask_training.records import Columns, Record, read_records

_LABELS = ("very negative", "negative", "neutral", "positive", "very positive")
_DROPOUT = 0.3
# Texts whose masks are learned side by side; those of like length go together.
_MASK_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetExperiment:
    """Hold learned masks against the smallest subsets there are (table 2).

    Attributes:
        data: Folder with `sst/trees/train.txt.gz` and `sst/trees/dev.txt.gz`.
        to: Folder of the results; a seed that is finished there is not run again.
        seeds: Independent runs: classifier and masks.
        trial: Name of a trial of other settings, which goes to a file of its own.
        requirement: What a subset must do: `prediction` keeps the label, `divergence`
            stays within the margin.
        margin: Allowed divergence, nats.
        max_words: Longer sentences are left out.
        max_texts: Of the sentences that are left, so many; 0 for all.
        max_subsets: A size with more subsets is not searched.
        width: Of word vectors and of the GRU.
        epochs: Passes of the classifier over all labelled phrases.
        masks: How masks are learned.
    """

    data: Path = Path("data")
    to: Path = Path("docs/results")
    seeds: int = 5
    trial: str = ""
    requirement: Requirement = "prediction"
    margin: float = 0.1
    max_words: int = 25
    max_texts: int = 0
    max_subsets: int = 500_000
    width: int = 64
    epochs: int = 3
    masks: MaskSettings = field(default_factory=MaskSettings)


def run_subsets(experiment: SubsetExperiment) -> None:
    """Run what is not finished yet.

    Raises:
        DataError: The treebank is not there.
    """
    settings = dataclasses.asdict(experiment)
    # None of these changes what is found for one seed.
    for name in ("data", "to", "seeds", "trial"):
        del settings[name]
    units = {
        f"seed-{seed}": partial(_explain, experiment, seed)
        for seed in range(experiment.seeds)
    }
    name = f"subsets-{experiment.requirement}"
    if experiment.trial:
        name = f"{name}.{experiment.trial}"
    with one_thread():
        run_units(name, settings, units, directory=experiment.to)


def _explain(experiment: SubsetExperiment, seed: int) -> Mapping[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    trees = experiment.data / "sst" / "trees"
    read = partial(read_records, labels=_LABELS, columns=Columns())
    phrases = read(trees / "train.txt.gz", phrases=True)
    sentences = read(trees / "dev.txt.gz")
    vocabulary = make_vocabulary(read(trees / "train.txt.gz"), min_count=2)
    model = GruClassifier(
        num_words=len(vocabulary) + 1,
        num_labels=len(_LABELS),
        width=experiment.width,
        dropout=_DROPOUT,
    )
    train(
        model,
        make_texts(phrases, vocabulary),
        epochs=experiment.epochs,
        batch_size=128,
        learning_rate=2e-3,
        generator=generator,
    )
    short = _short(sentences, experiment)
    problem = make_problem(
        model,
        make_texts(short, vocabulary),
        requirement=experiment.requirement,
        margin=experiment.margin,
    )
    minima = find_minima(problem, max_subsets=experiment.max_subsets)
    return {
        "accuracy": accuracy(model, make_texts(sentences, vocabulary)),
        "num_sentences": len(sentences),
        "search": _search_figures(minima, problem.texts),
        "methods": _method_figures(
            problem, minima, settings=experiment.masks, generator=generator
        ),
    }


def _method_figures(
    problem: Problem,
    minima: Sequence[Minimum],
    *,
    settings: MaskSettings,
    generator: torch.Generator,
) -> dict[str, dict[str, float]]:
    figures = {}
    for name, make in _estimators(generator).items():
        masks = _masks_by_batch(problem, make, settings=settings, generator=generator)
        figures[name] = _score_all(problem, minima, masks.best)
        figures[f"{name}_last"] = _score_all(problem, minima, masks.last)
    return figures


def _short(sentences: Sequence[Record], experiment: SubsetExperiment) -> list[Record]:
    short = [s for s in sentences if len(s.text.split(" ")) <= experiment.max_words]
    return short[: experiment.max_texts or None]


def _estimators(generator: torch.Generator) -> dict[str, Callable[[], Estimator]]:
    return {
        "diffmask": partial(Relaxed, generator),
        "reinforce_published": partial(ScoreFunction, generator, is_published=True),
        "reinforce": partial(ScoreFunction, generator, is_published=False),
    }


def find_minima(problem: Problem, *, max_subsets: int) -> list[Minimum]:
    """Return the smallest subsets of each text that do what is asked for.

    Args:
        problem: Texts, and what is asked for.
        max_subsets: A size with more subsets is not searched.
    """
    return [
        minimum_subsets(
            problem.model,
            problem.words[row, : int(problem.texts.lengths[row])],
            # Bound now: the next text has another problem.
            partial(_holds, problem[torch.tensor([row])]),
            max_subsets=max_subsets,
        )
        for row in range(len(problem.texts))
    ]


def _holds(problem: Problem, masked_logits: Tensor) -> Tensor:
    return problem.violation(masked_logits) <= 0


def _search_figures(minima: Sequence[Minimum], texts: Texts) -> dict[str, Any]:
    found = [bool(len(minimum.subsets)) for minimum in minima]
    sizes = Counter(
        m.size for m, is_found in zip(minima, found, strict=True) if is_found
    )
    shares = [
        m.size / int(length)
        for m, length, is_found in zip(minima, texts.lengths, found, strict=True)
        if is_found
    ]
    return {
        "num_texts": len(minima),
        "num_unresolved": found.count(False),
        "num_by_size": {str(size): sizes[size] for size in sorted(sizes)},
        "mean_share": float(np.mean(shares)),
        "share_unique": float(np.mean([len(m.subsets) == 1 for m in minima])),
    }


def _masks_by_batch(
    problem: Problem,
    make_estimator: Callable[[], Estimator],
    *,
    settings: MaskSettings,
    generator: torch.Generator,
) -> LearnedMasks:
    nothing = torch.zeros_like(problem.texts.ids, dtype=torch.bool)
    masks = LearnedMasks(best=nothing, last=nothing.clone())
    for rows in torch.split(problem.texts.lengths.argsort(), _MASK_BATCH):
        found = learn_masks(
            problem[rows], make_estimator, settings, generator=generator
        )
        width = found.best.shape[1]
        masks.best[rows, :width], masks.last[rows, :width] = found.best, found.last
    return masks


@torch.no_grad()
def _score_all(
    problem: Problem, minima: Sequence[Minimum], masks: Tensor
) -> dict[str, float]:
    lengths = problem.texts.lengths
    is_feasible = problem.violation(problem.masked_logits(masks.float())) <= 0
    scores = [
        score_mask(mask[: int(length)], minimum, is_feasible=bool(feasible))
        for mask, length, minimum, feasible in zip(
            masks, lengths, minima, is_feasible, strict=True
        )
        if len(minimum.subsets)
    ]
    return {
        "precision": float(np.mean([score.precision for score in scores])),
        "recall": float(np.mean([score.recall for score in scores])),
        "f1": float(np.mean([score.f1 for score in scores])),
        # A text whose minimum is not known counts as missed.
        "optimality": sum(score.is_optimal for score in scores) / len(minima),
        "kept_share": float((masks.sum(dim=-1) / lengths).mean()),
        "feasible": float(is_feasible.float().mean()),
    }
