"""What amortisation is for: gates that are optimised for one text alone, beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffmask_training.errors import ConfigError
from diffmask_training.experiments.results import (
    one_thread,
    run_units,
    trial_name,
)
from diffmask_training.experiments.sentiment.masks import run_probe
from diffmask_training.experiments.sentiment.sentences import EncodedSentence
from diffmask_training.experiments.sentiment.single_texts import (
    SingleTexts,
    read_single_texts,
)
from diffmask_training.masking import HARD_MASK_THRESHOLD
from diffmask_training.metrics.similarity import over_pairs, rank_correlation
from diffmask_training.refinement import (
    BaselineChoice,
    Refinement,
    RefinementSettings,
    judge_masks,
    refine,
)

# By the paper's panels: (b) with a baseline learned for the text, (c) without one.
_BASELINES: Mapping[str, BaselineChoice] = {"own": "own", "none": "zero"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AloneExperiment:
    """Find the hidden gates of single texts without a probe (figure 12).

    Attributes:
        checkpoint: Directory of the fine-tuned classifier.
        probes: Directory of its fitted probes; the hidden one is taken.
        data: Folder with `sst/trees/dev.txt.gz`.
        to: Folder of the results; a text that is finished there is not run again.
        trial: Name of a trial of other settings, which goes to a file of its own.
        max_words: Longer sentences are left out.
        num_texts: Sentences, the first of the file.
        seeds: Runs of each text with each baseline, at least 2.
        steps: Of each run.
        margin: Allowed divergence, nats.
    """

    checkpoint: Path = Path("runs/checkpoint")
    probes: Path = Path("runs/probes")
    data: Path = Path("data")
    to: Path = Path("docs/results")
    trial: str = ""
    max_words: int = 12
    num_texts: int = 5
    seeds: int = 3
    steps: int = 150
    margin: float = 0.1


def run_alone(experiment: AloneExperiment) -> None:
    """Run what is not finished yet.

    Raises:
        ConfigError: There are fewer than two seeds.
        CheckpointError: The classifier or the probe cannot be used.
        DataError: The treebank is not there.
    """
    if experiment.seeds < 2:
        raise ConfigError("--seeds needs 2 or more; one run has nothing to agree with")
    texts = read_single_texts(experiment)
    units: dict[str, Callable[[], Mapping[str, Any]]] = {
        f"text-{number}": partial(_explain, experiment, texts, sentence)
        for number, sentence in enumerate(texts.sentences)
    }
    settings = {
        **texts.settings,
        **{
            name: getattr(experiment, name)
            for name in ("max_words", "seeds", "steps", "margin")
        },
    }
    name = trial_name("alone", experiment.trial)
    with one_thread():
        run_units(name, settings, units, directory=experiment.to)


def _explain(
    experiment: AloneExperiment, texts: SingleTexts, sentence: EncodedSentence
) -> Mapping[str, Any]:
    classifier, probe = texts.classifier, texts.probe
    run = run_probe(classifier, probe, [sentence], with_masks=False)
    (amortised,) = run.keep_probability
    judged = judge_masks(
        classifier, sentence.encoding, amortised >= HARD_MASK_THRESHOLD, probe=probe
    )
    found: dict[str, Any] = {
        "tokens": classifier.tokenizer.convert_ids_to_tokens(
            list(sentence.encoding.input_ids)
        ),
        "amortised": {
            "kept_share": float(np.mean([mask.kept_share for mask in judged])),
            "agreement": float(np.mean([mask.is_agreeing for mask in judged])),
            "keep_probability": amortised.round(4).tolist(),
        },
    }
    for name, baseline in _BASELINES.items():
        runs = [
            refine(
                classifier,
                sentence.encoding,
                kind="hidden",
                settings=_settings(experiment, baseline, seed),
            )
            for seed in range(experiment.seeds)
        ]
        found[name] = _figures(runs, amortised)
    return found


def _settings(
    experiment: AloneExperiment, baseline: BaselineChoice, seed: int
) -> RefinementSettings:
    return RefinementSettings(
        margin=experiment.margin,
        baseline=baseline,
        steps=experiment.steps,
        # The paper's ablation has no trial at the end.
        is_tightened=False,
        seed=seed,
    )


def _figures(
    runs: list[tuple[Refinement, ...]], amortised: NDArray[np.float32]
) -> dict[str, Any]:
    gates = [np.stack([state.keep_probability for state in run]) for run in runs]
    states = [state for run in runs for state in run]
    return {
        "kept_share": float(np.mean([state.kept_share for state in states])),
        "agreement": float(np.mean([state.is_agreeing for state in states])),
        "correlation_of_seeds": over_pairs(
            rank_correlation, np.stack([found.ravel() for found in gates])
        ),
        "correlation_with_amortised": _mean_correlation(gates, amortised),
        "keep_probability": gates[0].round(4).tolist(),
    }


def _mean_correlation(
    gates: list[NDArray[np.float64]], amortised: NDArray[np.float32]
) -> float | None:
    """Return the mean over seeds; a seed whose gates are all the same is left out."""
    compared = [rank_correlation(found.ravel(), amortised.ravel()) for found in gates]
    defined = [value for value in compared if value is not None]
    return float(np.mean(defined)) if defined else None
