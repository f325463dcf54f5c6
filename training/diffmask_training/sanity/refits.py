"""The two tests from settings to figures: spoil or teach a classifier, fit, compare."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffmask_training.checkpoint import load_probe
from diffmask_training.classifier import Classifier, load_classifier
from diffmask_training.config import (
    DataConfig,
    FinetuneConfig,
    FitConfig,
    RandomiseConfig,
    ShortcutConfig,
)
from diffmask_training.errors import CheckpointError, ConfigError
from diffmask_training.explained import ExplainedText, explain_texts
from diffmask_training.finetune import finetune
from diffmask_training.fit import Watcher, fit
from diffmask_training.pretrained import read_tokenizer
from diffmask_training.probes import Probe
from diffmask_training.records import Record
from diffmask_training.sanity.randomisation import (
    Similarity,
    compare_explanations,
    write_randomised,
)
from diffmask_training.sanity.shortcuts import (
    Shortcut,
    ShortcutRecovery,
    choose_words,
    plant,
    recovery,
)
from diffmask_training.splits import Splits, read_splits


def randomise(config: RandomiseConfig, watcher: Watcher) -> tuple[Similarity, ...]:
    """Spoil a classifier to several depths, fit a probe to each, and compare.

    Args:
        config: Settings of the fits, and the depths.
        watcher: Told of every fit in turn.

    Returns:
        One entry for each depth, in rising order.

    Raises:
        CheckpointError: The classifier or its own input probe is missing.
        DataError: A data file is missing or malformed.
    """
    classifier = load_classifier(config.checkpoint)
    original = load_probe(config.probes, "input", classifier=classifier).probe
    tests = read_splits(config, classifier.labels).test[: config.texts]
    explained = _explained(classifier, original, tests, config)
    deepest = classifier.encoder.num_blocks + 1
    similarities = []
    for depth in sorted({deepest if d < 0 else d for d in config.depths}):
        if depth > deepest:
            raise ConfigError(
                f"depths must be at most {deepest} for {classifier.encoder.num_blocks}"
                f" blocks, not {depth}"
            )
        directory = config.output / f"depth-{depth}"
        write_randomised(
            classifier, directory / "checkpoint", depth=depth, seed=config.spoiling_seed
        )
        spoilt = _fitted(config, directory, watcher)
        similarities.append(
            compare_explanations(
                explained,
                _explained(*spoilt, tests, config),
                depth=depth,
                seed=config.seed,
            )
        )
    return tuple(similarities)


def recover_shortcuts(
    config: ShortcutConfig, watcher: Watcher
) -> tuple[ShortcutRecovery, ...]:
    """Teach a classifier each kind of shortcut, fit a probe, and look for it.

    Args:
        config: Settings of fine-tuning and fit, and what is planted.
        watcher: Told of every fit in turn.

    Returns:
        One entry for each kind of shortcut.

    Raises:
        CheckpointError: There is no pretrained model, or no tokenizer beside it.
        DataError: A data file is missing or malformed, or has no room for a shortcut.
        ConfigError: There are not two labels.
    """
    if len(config.labels) != 2:
        raise ConfigError(f"a shortcut tells two labels apart, not {config.labels}")
    if not (config.base / "config.json").is_file():
        raise CheckpointError(
            f"{config.base}: holds no pretrained model; name its directory with --base"
        )
    splits = read_splits(config, config.labels)
    records = (*splits.train, *splits.validation, *splits.test)
    tokenizer = read_tokenizer(config.base)
    words = choose_words(tokenizer, records, seed=config.seed)
    return tuple(
        _recovered(config, splits, Shortcut(kind=kind, words=words), watcher)
        for kind in config.shortcuts
    )


def _recovered(
    config: ShortcutConfig, splits: Splits, shortcut: Shortcut, watcher: Watcher
) -> ShortcutRecovery:
    directory = config.output / shortcut.kind
    for name, records in (
        ("train", splits.train),
        ("validation", splits.validation),
    ):
        planted = plant(
            records,
            shortcut,
            share=config.share,
            decoy_share=config.share,
            seed=config.seed,
        )
        _write_records(directory / f"{name}.jsonl", planted)
    whole = plant(
        splits.test[: config.texts],
        shortcut,
        share=1.0,
        decoy_share=0.0,
        seed=config.seed,
    )
    _write_records(directory / "test.jsonl", whole)
    # What was planted is written in columns of the usual names.
    texts: dict[str, Any] = dataclasses.asdict(
        DataConfig(
            data=directory,
            train=Path("train.jsonl"),
            validation=Path("validation.jsonl"),
            test=Path("test.jsonl"),
            max_train_tokens=config.max_train_tokens,
        )
    )
    finetune(
        FinetuneConfig(
            **texts,
            base=config.base,
            checkpoint=directory / "checkpoint",
            labels=config.labels,
            epochs=config.finetune_epochs,
            learning_rate=config.finetune_learning_rate,
            masked_share=config.masked_share,
            seed=config.seed,
        )
    )
    here = dataclasses.replace(config, **texts)
    classifier, probe = _fitted(here, directory, watcher)
    vocabulary = classifier.tokenizer.get_vocab()
    ids = [vocabulary[classifier.tokenizer.tokenize(w)[0]] for w in shortcut.words]
    explained = _explained(classifier, probe, whole, config)
    return recovery(explained, shortcut, ids=ids, seed=config.seed)


def _fitted(
    config: FitConfig, directory: Path, watcher: Watcher
) -> tuple[Classifier, Probe]:
    names = [field.name for field in dataclasses.fields(FitConfig)]
    settings = {
        **{name: getattr(config, name) for name in names},
        "checkpoint": directory / "checkpoint",
        "probes": directory / "probes",
        "kind": "input",
    }
    fitted = fit(FitConfig(**settings), watcher)
    return load_classifier(directory / "checkpoint"), fitted.probe


def _explained(
    classifier: Classifier, probe: Probe, records: Sequence[Record], config: FitConfig
) -> tuple[ExplainedText, ...]:
    encodings = classifier.encode(records, config.max_train_tokens)
    return explain_texts(classifier, {"input": probe}, encodings)


def _write_records(path: Path, records: Sequence[Record]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"text": record.text, "label": record.label}) for record in records
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
