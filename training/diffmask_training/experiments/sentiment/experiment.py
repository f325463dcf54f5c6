"""Faithfulness, stability and plausibility of fitted probes, one probe at a time."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from diffmask_training.checkpoint import load_probe
from diffmask_training.classifier import Classifier, load_classifier
from diffmask_training.errors import ConfigError
from diffmask_training.experiments.results import digests, run_units
from diffmask_training.experiments.sentiment.groups import (
    by_part_of_speech,
    by_sentiment,
    first_token_share,
)
from diffmask_training.experiments.sentiment.masks import (
    ProbeRun,
    faithfulness,
    run_probe,
    seed_spread,
)
from diffmask_training.experiments.sentiment.sentences import (
    EncodedSentence,
    Sentence,
    encode_sentences,
    read_sentences,
    universal_tagger,
)
from diffmask_training.probes import ProbeKind

# Figure 6 of the paper.
EXAMPLE = "A fast , funny , highly enjoyable movie ."
_KINDS: tuple[ProbeKind, ...] = ("input", "hidden")
_MAX_TOKENS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class SentimentExperiment:
    """Measure the probes of a fine-tuned classifier (section 3.2, figures 4 to 6).

    Attributes:
        checkpoint: Directory of the fine-tuned classifier.
        probes: Directories of its fitted probes, one for each seed of a fit; each holds
            both kinds.
        data: Folder with `sst/trees/dev.txt.gz` and, for figure 5, `nltk_data`.
        to: Folder of the results; a probe that is finished there is not run again.
        name: Of the results, when several classifiers are measured.
        max_sentences: So many of the sentences; 0 for all.
    """

    checkpoint: Path = Path("runs/checkpoint")
    probes: tuple[Path, ...] = ()
    data: Path = Path("data")
    to: Path = Path("docs/results")
    name: str = "sst5"
    max_sentences: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """What is explained.

    Attributes:
        experiment: Settings.
        classifier: The frozen classifier.
        sentences: The sentences.
    """

    experiment: SentimentExperiment
    classifier: Classifier
    sentences: list[EncodedSentence]


def run_sentiment(experiment: SentimentExperiment) -> None:
    """Run what is not finished yet.

    Raises:
        ConfigError: Fewer than two probes are named; one has no spread over seeds.
        CheckpointError: The classifier or a probe cannot be used.
        DataError: The treebank is not there.
    """
    if len(experiment.probes) < 2:
        raise ConfigError(
            "--probes needs two directories or more, one for each seed of a fit"
        )
    classifier = load_classifier(experiment.checkpoint)
    sentences = read_sentences(
        experiment.data / "sst" / "trees" / "dev.txt.gz",
        num_labels=len(classifier.labels),
    )[: experiment.max_sentences or None]
    setting = _Setting(
        experiment=experiment,
        classifier=classifier,
        sentences=encode_sentences(sentences, classifier.tokenizer, _MAX_TOKENS),
    )
    units: dict[str, Callable[[], Mapping[str, Any]]] = {}
    for kind in _KINDS:
        for number, probes in enumerate(experiment.probes):
            units[f"{kind}-{number}"] = partial(_one_probe, setting, kind, probes)
        units[f"{kind}-stability"] = partial(_stability, setting, kind)
    run_units(
        f"sentiment-{experiment.name}",
        _settings(experiment, classifier),
        units,
        directory=experiment.to,
    )


def _settings(
    experiment: SentimentExperiment, classifier: Classifier
) -> dict[str, Any]:
    weights = [
        experiment.checkpoint / "model.safetensors",
        *(
            probes / kind / "probe.safetensors"
            for probes in experiment.probes
            for kind in _KINDS
            if (probes / kind / "probe.safetensors").is_file()
        ),
    ]
    return {
        "weights": digests(weights),
        "labels": classifier.labels,
        "states": classifier.encoder.states,
        "max_sentences": experiment.max_sentences,
    }


def _run(
    setting: _Setting, kind: ProbeKind, probes: Path, *, with_masks: bool
) -> ProbeRun:
    return run_probe(
        setting.classifier,
        load_probe(probes, kind, classifier=setting.classifier).probe,
        setting.sentences,
        with_masks=with_masks,
    )


def _one_probe(setting: _Setting, kind: ProbeKind, probes: Path) -> Mapping[str, Any]:
    run = _run(setting, kind, probes, with_masks=True)
    labels = np.array([item.sentence.label for item in setting.sentences])
    tag = universal_tagger(setting.experiment.data / "nltk_data")
    return {
        "kind": kind,
        "num_sentences": len(setting.sentences),
        "faithfulness": faithfulness(run, labels),
        "by_sentiment": by_sentiment(run, setting.sentences),
        "by_part_of_speech": tag and by_part_of_speech(run, setting.sentences, tag),
        "first_token_share": first_token_share(run),
        "example": _example(setting, kind, probes),
    }


def _stability(setting: _Setting, kind: ProbeKind) -> Mapping[str, Any]:
    runs = [
        _run(setting, kind, probes, with_masks=False)
        for probes in setting.experiment.probes
    ]
    return {"seed_spread": seed_spread(runs), "num_runs": len(runs)}


def _example(setting: _Setting, kind: ProbeKind, probes: Path) -> Mapping[str, Any]:
    words = tuple(EXAMPLE.split(" "))
    sentence = Sentence(words=words, sentiments=(2,) * len(words), label=0)
    tokenizer = setting.classifier.tokenizer
    encoded = encode_sentences([sentence], tokenizer, _MAX_TOKENS)
    alone = dataclasses.replace(setting, sentences=encoded)
    (keep,) = _run(alone, kind, probes, with_masks=False).keep_probability
    tokens = tokenizer.convert_ids_to_tokens(list(encoded[0].encoding.input_ids))
    return {"tokens": tokens, "keep_probability": keep.round(4).tolist()}
