"""What experiments on single sentences start from: classifier, probe, sentences."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from diffmask_training.checkpoint import load_probe
from diffmask_training.classifier import Classifier, load_classifier
from diffmask_training.experiments.results import digests
from diffmask_training.experiments.sentiment.sentences import (
    EncodedSentence,
    encode_sentences,
    read_sentences,
)
from diffmask_training.probes import Probe

MAX_TOKENS = 128


class Source(Protocol):
    """Settings of an experiment on single sentences."""

    @property
    def checkpoint(self) -> Path:
        """Directory of the fine-tuned classifier."""

    @property
    def probes(self) -> Path:
        """Directory of its fitted probes; the hidden one is taken."""

    @property
    def data(self) -> Path:
        """Folder with `sst/trees/dev.txt.gz`."""

    @property
    def max_words(self) -> int:
        """Longer sentences are left out."""

    @property
    def num_texts(self) -> int:
        """Sentences, the first of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleTexts:
    """A classifier, its hidden probe, and sentences to explain.

    Attributes:
        classifier: The frozen classifier.
        probe: Of its hidden states.
        sentences: The sentences.
        settings: What figures on them depend on.
    """

    classifier: Classifier
    probe: Probe
    sentences: list[EncodedSentence]
    settings: dict[str, Any]


def read_single_texts(source: Source) -> SingleTexts:
    """Read what an experiment's settings name.

    Raises:
        CheckpointError: The classifier or the probe cannot be used.
        DataError: The treebank is not there.
    """
    classifier = load_classifier(source.checkpoint)
    sentences = read_sentences(
        source.data / "sst" / "trees" / "dev.txt.gz",
        num_labels=len(classifier.labels),
    )
    short = [s for s in sentences if len(s.words) <= source.max_words]
    weights = [
        source.checkpoint / "model.safetensors",
        source.probes / "hidden" / "probe.safetensors",
    ]
    return SingleTexts(
        classifier=classifier,
        probe=load_probe(source.probes, "hidden", classifier=classifier).probe,
        sentences=encode_sentences(
            short[: source.num_texts], classifier.tokenizer, MAX_TOKENS
        ),
        settings={"weights": digests(weights), "states": classifier.encoder.states},
    )
