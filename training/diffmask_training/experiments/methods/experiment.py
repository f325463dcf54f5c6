"""Each method's hidden states under one test: how many predictions do they keep?

Attributions have no zero, so they are compared at DiffMask's own sizes: at each state
of a text every method keeps as many tokens as the probe's hard mask does, the highest
ones, and the probe's baseline takes the place of the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diffmask_training.experiments.methods.explainers import (
    Explain,
    HiddenStates,
    StateStatistics,
    erasure,
    guan,
    integrated_gradients,
    random_attribution,
    schulz,
    state_statistics,
    top_masks,
)
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
from diffmask_training.metrics.similarity import rank_correlation
from diffmask_training.refinement import judge_masks


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodsExperiment:
    """Hold attributions to hidden states against each other (figure 13).

    Attributes:
        checkpoint: Directory of the fine-tuned classifier.
        probes: Directory of its fitted probes; the hidden one is taken.
        data: Folder with `sst/trees/dev.txt.gz`.
        to: Folder of the results; a text that is finished there is not run again.
        trial: Name of a trial of other settings, which goes to a file of its own.
        max_words: Longer sentences are left out.
        num_texts: Sentences, the first of the file.
        num_steps: Of Schulz et al. and Guan et al.
    """

    checkpoint: Path = Path("runs/checkpoint")
    probes: Path = Path("runs/probes")
    data: Path = Path("data")
    to: Path = Path("docs/results")
    trial: str = ""
    max_words: int = 20
    num_texts: int = 20
    num_steps: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    texts: SingleTexts
    statistics: StateStatistics
    num_steps: int


def run_methods(experiment: MethodsExperiment) -> None:
    """Run what is not finished yet.

    Raises:
        CheckpointError: The classifier or the probe cannot be used.
        DataError: The treebank is not there.
    """
    texts = read_single_texts(experiment)
    setting = _Setting(
        texts=texts,
        statistics=state_statistics(
            [
                HiddenStates(texts.classifier, sentence.encoding)
                for sentence in texts.sentences
            ]
        ),
        num_steps=experiment.num_steps,
    )
    units: dict[str, Callable[[], Mapping[str, Any]]] = {
        f"text-{number}": partial(_explain, setting, sentence, number)
        for number, sentence in enumerate(texts.sentences)
    }
    settings = {
        **texts.settings,
        **{
            name: getattr(experiment, name)
            for name in ("max_words", "num_texts", "num_steps")
        },
    }
    name = trial_name("methods", experiment.trial)
    with one_thread():
        run_units(name, settings, units, directory=experiment.to)


def _explain(
    setting: _Setting, sentence: EncodedSentence, seed: int
) -> Mapping[str, Any]:
    classifier, probe = setting.texts.classifier, setting.texts.probe
    run = run_probe(classifier, probe, [sentence], with_masks=False)
    gates = run.keep_probability[0].astype(np.float64)
    kept = gates >= HARD_MASK_THRESHOLD
    text = HiddenStates(classifier, sentence.encoding)
    attributions = {
        "diffmask": gates,
        **{name: explain(text) for name, explain in _others(setting, seed).items()},
    }
    judge = partial(_figures, setting, sentence, gates, kept.sum(axis=1))
    return {
        "tokens": classifier.tokenizer.convert_ids_to_tokens(
            list(sentence.encoding.input_ids)
        ),
        "kept_share": float(kept.mean()),
        "methods": {name: judge(found) for name, found in attributions.items()},
    }


def _others(setting: _Setting, seed: int) -> dict[str, Explain]:
    generator = torch.Generator().manual_seed(seed)
    num_steps = setting.num_steps
    return {
        "random": partial(random_attribution, generator=np.random.default_rng(seed)),
        "erasure": erasure,
        "integrated_gradients": integrated_gradients,
        "schulz": partial(
            schulz,
            statistics=setting.statistics,
            num_steps=num_steps,
            generator=generator,
        ),
        "guan": partial(guan, num_steps=num_steps, generator=generator),
    }


def _figures(
    setting: _Setting,
    sentence: EncodedSentence,
    gates: NDArray[np.float64],
    counts: NDArray[np.int64],
    attribution: NDArray[np.float64],
) -> dict[str, Any]:
    masks = top_masks(attribution, counts)
    texts = setting.texts
    judged = judge_masks(texts.classifier, sentence.encoding, masks, probe=texts.probe)
    return {
        "agreement": float(np.mean([mask.is_agreeing for mask in judged])),
        "divergence": float(np.mean([mask.divergence for mask in judged])),
        "correlation": rank_correlation(attribution.ravel(), gates.ravel()),
        "attribution": attribution.round(4).tolist(),
    }
