"""What a fit starts from: classifier, texts, margin and a fresh probe."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from diffmask_training.batches import Encoding, TensorBatch, sorted_batches
from diffmask_training.classifier import Classifier, load_classifier
from diffmask_training.config import FitConfig
from diffmask_training.encoder import Encoder
from diffmask_training.identity import digest_of, identity_of
from diffmask_training.initialisation import initialise
from diffmask_training.margin import Outputs, describe_outputs, margin_of
from diffmask_training.masked_runs import MaskedRuns
from diffmask_training.precision import settled_precision
from diffmask_training.probes import Probe, ProbeShape
from diffmask_training.records import Record
from diffmask_training.sharing import Processes
from diffmask_training.splits import read_splits
from diffmask_training.trainer import Trainer
from diffmask_training.windows import Windows

_STATISTICS_TEXTS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Encoded texts of a fit.

    Attributes:
        train: Texts that the probe is fitted on.
        validation: Texts that decide among epochs.
    """

    train: Sequence[Encoding]
    validation: Sequence[Encoding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a fit is made of; an experiment puts others in their places.

    Attributes:
        probe: Votes.
        runs: Masks texts and measures what that does.
    """

    probe: type[Probe] = Probe
    runs: type[MaskedRuns] = MaskedRuns


PLAIN = Parts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A fit that is ready to begin, or to go on.

    Attributes:
        trainer: With a fresh probe; its settings have the margin in nats.
        texts: What it is fitted on.
        outputs: How sure the model is on the validation texts.
        identity: What a fit must have in common with this one to go on from its
            checkpoint: values by name.
    """

    trainer: Trainer
    texts: Texts
    outputs: Outputs
    identity: dict[str, str]


def prepare(config: FitConfig, processes: Processes, parts: Parts = PLAIN) -> Prepared:
    """Read classifier and texts, settle the margin, and make a probe.

    Args:
        config: What to fit and how.
        processes: Who takes part.
        parts: What it is made of.

    Raises:
        DataError: A data file is missing or malformed.
        CheckpointError: The classifier cannot be used.
    """
    precision = settled_precision(config.precision, processes.device)
    config = dataclasses.replace(config, precision=precision)
    classifier = load_classifier(
        config.checkpoint, no_answer_threshold=config.no_answer_threshold
    )
    classifier.encoder.to(processes.device)
    texts = _read(config, classifier)
    classifier.encoder.measure(
        batch.to(processes.device).inputs for batch in _spread(texts, classifier)
    )
    pad_id = classifier.tokenizer.pad_token_id
    outputs = processes.made_by_main(
        lambda: describe_outputs(
            classifier.encoder,
            sorted_batches(texts.validation, batch_size=64, pad_id=pad_id),
        )
    )
    settled = config
    if config.margin == 0:
        margin = margin_of(outputs, config.margin_share)
        settled = dataclasses.replace(config, margin=margin)
    return Prepared(
        trainer=_trainer(settled, classifier, texts, processes, parts),
        texts=texts,
        outputs=outputs,
        identity=identity_of(
            config,
            classifier=classifier.weights,
            # Reads every text once, so a malformed row is found before the first step.
            training_texts=digest_of(texts.train),
            validation_texts=digest_of(texts.validation),
        ),
    )


def _read(config: FitConfig, classifier: Classifier) -> Texts:
    task = classifier.encoder.task
    splits = read_splits(config, classifier.labels, task=task.name)
    train = _encoded(splits.train, config, classifier)
    validation = _encoded(splits.validation, config, classifier)
    if config.validation_texts:
        generator = torch.Generator().manual_seed(config.split_seed)
        order = torch.randperm(len(validation), generator=generator)
        chosen = order[: config.validation_texts].tolist()
        validation = [validation[index] for index in chosen]
    return Texts(train=train, validation=validation)


def _encoded(
    records: Sequence[Record], config: FitConfig, classifier: Classifier
) -> Sequence[Encoding]:
    if not config.window_overlap:
        return classifier.encode(records, config.max_train_tokens)
    return Windows(
        tokenizer=classifier.tokenizer,
        task=classifier.encoder.task,
        max_tokens=classifier.limit(config.max_train_tokens),
        overlap=config.window_overlap,
    ).of_all(records)


def _trainer(
    config: FitConfig,
    classifier: Classifier,
    texts: Texts,
    processes: Processes,
    parts: Parts,
) -> Trainer:
    torch.manual_seed(config.seed)
    probe = parts.probe(_shape(config, classifier.encoder)).to(processes.device)
    # Before the trainer, whose optimiser remembers where the probe starts.
    initialise(
        probe,
        classifier.encoder,
        _first(texts, classifier),
        mask_id=classifier.tokenizer.mask_token_id,
    )
    return Trainer(
        config,
        classifier.encoder,
        probe,
        pad_id=classifier.tokenizer.pad_token_id,
        total_steps=config.steps_an_epoch(len(texts.train)) * config.epochs,
        processes=processes,
        runs=parts.runs,
    )


def _shape(config: FitConfig, encoder: Encoder) -> ProbeShape:
    return ProbeShape(
        kind=config.kind,
        num_states=encoder.num_states,
        hidden_size=encoder.hidden_size,
        embedding_size=encoder.embedding_size,
        bottleneck_size=config.bottleneck_size or encoder.hidden_size // 4,
        initial_bias=config.initial_bias,
    )


def _first(texts: Texts, classifier: Classifier) -> Iterator[TensorBatch]:
    return _batches(texts.train[:_STATISTICS_TEXTS], classifier)


def _spread(texts: Texts, classifier: Classifier) -> Iterator[TensorBatch]:
    # Files of values are often in their order, so that the first texts are alike.
    num_texts = len(texts.train)
    count = min(num_texts, _STATISTICS_TEXTS)
    chosen = [texts.train[number * num_texts // count] for number in range(count)]
    yield from _batches(chosen, classifier)


def _batches(
    encodings: Sequence[Encoding], classifier: Classifier
) -> Iterator[TensorBatch]:
    return sorted_batches(
        encodings, batch_size=64, pad_id=classifier.tokenizer.pad_token_id
    )
